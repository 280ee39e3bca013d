"""An engine holds an algorithm and computes its tasks, one by one or many at once."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from maml_cli.core.algorithm import (
    LOG,
    Algorithm,
    MetaParameters,
    MetaStep,
    Phase,
    Sections,
    TaskStep,
    check_phase,
    flat,
)
from maml_cli.core.types import Episode, Evaluation, Progress


class Engine(ABC):
    """Computes what a batch of tasks says; every engine gives the same results."""

    name: str
    """With the number of its cores, if it has several."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm

    @abstractmethod
    def step(self, params: MetaParameters, episodes: Episode, phase: Phase) -> TaskStep:
        """What the tasks of a batch contribute, merged."""

    @abstractmethod
    def predict(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        """Query outputs, `(tasks, evaluation steps, samples, queries, outputs)`, as constants."""

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        """What the outer optimiser should descend along, from a batch of episodes.

        Raises TypeError where the algorithm does not keep its own contract.
        """
        phase = self.algorithm.phase(progress)
        check_phase(phase)
        found = self.step(self._with_inputs(params, progress), episodes, phase)
        state = self.algorithm.next_state(params.state, found.outputs)
        _check_state(params.state, state)
        log = found.outputs[LOG]
        return MetaStep(
            gradient=found.gradient,
            state=state,
            loss=log["loss"],
            query_loss=log["query_loss"],
            query_metric=log["query_metric"],
            query_steps=self.algorithm.query_steps(phase),
        )

    def _with_inputs(self, params: MetaParameters, progress: Progress) -> MetaParameters:
        inputs = self.algorithm.inputs(progress)
        if not inputs:
            return params
        device = next(iter(flat(params.theta).values())).device
        tensors = {n: torch.tensor(value, device=device) for n, value in inputs.items()}
        return MetaParameters(theta=params.theta, state=params.state, inputs=tensors)


def _check_state(before: Sections, after: Sections) -> None:
    forms = [{n: (t.shape, t.dtype) for n, t in flat(s).items()} for s in (before, after)]
    for name in forms[0] | forms[1]:
        old, new = (form.get(name) for form in forms)
        if old != new:
            raise TypeError(
                f"next_state changes shape and type of state.{name} from {old} to {new}: they must "
                "stay what `init` made them, or a run could not be resumed"
            )
