"""The meta-learner LSTM: a start, and gates that decide how descent goes on from it.

Source: Ravi & Larochelle 2017, "Optimization as a model for few-shot learning", and its code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.core.algorithm import Merge, MetaParameters, Sections
from maml_cli.core.autodiff import detached
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, AlgorithmDefaults, TrainSettings
from maml_cli.core.types import Episode, Progress, TaskSource, Tensors
from maml_cli.inner.adaptation import Point
from maml_cli.inner.checkpointing import keep_graph, recompute
from maml_cli.inner.gated_descent import Feedback, GatedDescent
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.outer_loss import InnerLoopPhase, last_step
from maml_cli.inner.parts import meta_learned

GATES, UPDATES = "gates", "updates"
MEMORY = 0.01
"""Weight of the newest batch of tasks in the averages of the gates, after the first hundred."""


@dataclass(frozen=True, kw_only=True)
class MetaLSTMLearner(GradientLearner):
    """Learns a start and the gates of `GatedDescent` by the query loss after the last step.

    theta holds `model`, the start, and `optimizer`; state holds averages over training tasks of the
    gates in each tensor at each step, to be shown.
    """

    merges: ClassVar[Mapping[str, Merge]] = {GATES: "mean"}
    carried: ClassVar[tuple[str, ...]] = (GATES, UPDATES)

    def init(self, seed: int) -> MetaParameters:
        theta = super().init(seed).theta
        zeros = torch.zeros(self.steps, len(theta["model"]))
        gates = {"forget": zeros, "input": zeros.clone()}
        return MetaParameters(
            theta=theta, state={GATES: gates, UPDATES: {"count": torch.zeros(())}}
        )

    def told(self, point: Point) -> Sections:
        return {GATES: dict(point.memory["seen"])}

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        count = state[UPDATES]["count"] + 1
        weight = (1 / count).clamp_min(MEMORY)
        gates = {n: old + weight * (outputs[GATES][n] - old) for n, old in state[GATES].items()}
        return {GATES: gates, UPDATES: {"count": count}}

    def learned_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        """The averages of the gates, `NAME forget` and `NAME input` for each tensor."""
        if not params.state[UPDATES]["count"]:
            return {}
        return {
            f"{name} {gate}": column.tolist()
            for gate, rows in params.state[GATES].items()
            for name, column in zip(params.theta["model"], rows.unbind(1), strict=True)
        }


@settings(frozen=True, kw_only=True, config=STRICT)
class MetaLSTM(AlgorithmDefaults):
    """The settings; the switches are where the paper and its code differ."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="gated steps per episode")]
    units: Annotated[int, Field(ge=1, le=1000, description="of the LSTM that both gates read")]
    gradient_scale: Annotated[
        Literal["batch", "none"],
        Field(description="batch: the mean's gradient, divided by the examples again (code)"),
    ]
    gate_feedback: Annotated[
        Feedback, Field(description="a gate sees its last value before (code) or after its sigmoid")
    ]
    order: Annotated[Literal[1, 2], Field(description="1: gradient and loss count as constants")]
    learn_init: Annotated[bool, Field(description="false: the start stays as it was drawn")]
    recompute: Annotated[
        bool, Field(description="inner steps again in the backward pass: less memory, slower")
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        problems = experiment.run.check_train_ways(self.name)
        for key in ("train", "eval"):
            if getattr(experiment, key).bn_stats == "running":
                problems.append(
                    f"{key}.bn_stats=running: algo={self.name} gathers no running statistics over "
                    f"tasks: set {key}.bn_stats=batch or support"
                )
        return problems

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {
            "gradient_scale": self.gradient_scale,
            "gate_feedback": self.gate_feedback,
            "second_order": self.order == 2,
            "learn_init": self.learn_init,
        }

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> MetaLSTMLearner:
        """Turn the settings into parts."""
        inner = InnerLoop(
            network=network,
            objective=source.objective,
            adapts=("body", "norm", "head"),
            rule=GatedDescent(
                units=self.units,
                divide=self.gradient_scale == "batch",
                feedback=self.gate_feedback,
            ),
            start=meta_learned if self.learn_init else as_drawn,
            checkpointing=recompute if self.recompute else keep_graph,
            learned="optimizer",
        )
        return MetaLSTMLearner(
            steps=self.inner_steps,
            outputs=source.output_size,
            inner=inner,
            schedule=partial(self._phase, train.bn_stats),
            outer_lr_schedule=outer_rate(train),
        )

    def _phase(self, bn_stats: str, progress: Progress) -> InnerLoopPhase:
        weights = last_step(self.inner_steps)
        return InnerLoopPhase(order=self.order, step_weights=weights, bn_stats=bn_stats)


def as_drawn(theta: Sections, _: Episode) -> Tensors:
    """Every task begins with the network of theta, which no gradient reaches."""
    start: Tensors = detached(theta["model"])
    return start
