"""A learner whose meta-gradient is recorded once on a GPU and then replayed, without Python.

A few-shot step is thousands of kernels of some microseconds each, which a GPU runs faster than
Python can launch them. A CUDA graph launches them all at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from maml_cli.core.learner import Learner, LearnerAround, MetaParameters, MetaStep
from maml_cli.core.types import Episode, Progress, Tensors

WARM_UPS = 3
"""Libraries choose their kernels and take their memory in the first runs, outside of the graph."""

Record = Callable[[Callable[[], MetaStep]], tuple[Callable[[], None], MetaStep]]
"""Runs some work; returns what runs it again, and the result, which every run writes anew."""


class Recorded(LearnerAround):
    """Replays the meta-gradient, which is recorded anew when the outer loop changes its form.

    That is when its order or the weights of its steps change; of the tensors only the values may.
    """

    def __init__(self, learner: Learner, record: Record) -> None:
        super().__init__(learner)
        self._record = record
        self._recording: _Recording | None = None

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        form = self.order(progress), *self.step_weights(progress)
        if self._recording is None or self._recording.form != form:
            self._recording = None  # its memory goes before the next one takes its own
            self._recording = self._recorded(form, params, episodes, progress)
        return self._recording.replayed(params, episodes)

    def _recorded(
        self,
        form: tuple[float, ...],
        params: MetaParameters,
        episodes: Episode,
        progress: Progress,
    ) -> "_Recording":
        fixed = MetaParameters(
            theta={n: t.detach().clone() for n, t in params.theta.items()},
            state={n: t.clone() for n, t in params.state.items()},
        )
        given = Episode(*(field.clone() for field in episodes))
        replay, step = self._record(lambda: self._learner.meta_gradient(fixed, given, progress))
        return _Recording(form, fixed, given, replay, step)


class _Recording(NamedTuple):
    form: tuple[float, ...]
    params: MetaParameters
    episodes: Episode
    replay: Callable[[], None]
    step: MetaStep

    def replayed(self, params: MetaParameters, episodes: Episode) -> MetaStep:
        """The step for other values, which go where the recording reads them."""
        given = [*params.theta.values(), *params.state.values(), *episodes]
        places = [*self.params.theta.values(), *self.params.state.values(), *self.episodes]
        for place, values in zip(places, given, strict=True):
            place.copy_(values.detach())
        self.replay()
        found = self.step
        return MetaStep(  # a copy: the next replay writes into the same places
            gradient=_copies(found.gradient),
            state=_copies(found.state),
            loss=found.loss.clone(),
            query_loss=found.query_loss.clone(),
            query_metric=found.query_metric.clone(),
            query_steps=found.query_steps,
        )


def _copies(tensors: Tensors) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def cuda_graph(work: Callable[[], MetaStep]) -> tuple[Callable[[], None], MetaStep]:
    """Records work whose kernels need nothing of the CPU (a wait for the GPU raises RuntimeError).

    Source: torch's notes on CUDA graphs, "whole-network capture".
    """
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step = work()
    return graph.replay, step
