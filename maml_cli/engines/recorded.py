"""A learner whose meta-gradient is recorded once and then replayed, without the Python it took.

A few-shot step is hundreds or thousands of small operations. To find out what they are, through
transforms of transforms, takes longer than to do them; but they are the same at every iteration.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from maml_cli.core.learner import Learner, LearnerAround, MetaParameters, MetaStep
from maml_cli.core.types import Episode, Progress

WARM_UPS = 3
"""Libraries choose their kernels and take their memory in the first runs, outside of the graph."""

Function = Callable[[list[Tensor]], list[Tensor]]
Record = Callable[[Function, list[Tensor]], Function]
"""Takes a function, and inputs to record it on; gives the same for others of their shapes."""


class Recorded(LearnerAround):
    """Replays the meta-gradient, which is recorded anew when the outer loop changes its form.

    That is when its order or the weights of its steps change; of the tensors only the values may.
    """

    def __init__(self, learner: Learner, record: Record) -> None:
        super().__init__(learner)
        self._record = record
        self._replays: dict[tuple[float, ...], Function] = {}
        self._query_steps: tuple[int, ...] = ()

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        given = [*params.theta.values(), *params.state.values(), *episodes]
        values = [tensor.detach() for tensor in given]
        form = self.order(progress), *self.step_weights(progress)
        if form not in self._replays:
            self._replays.clear()  # its memory goes before the next one takes its own
            self._replays[form] = self._recorded(params, values, progress)
        *found, loss, query_loss, query_metric = self._replays[form](values)
        count = len(params.theta)
        return MetaStep(
            gradient=dict(zip(params.theta, found[:count], strict=True)),
            state=dict(zip(params.state, found[count:], strict=True)),
            loss=loss,
            query_loss=query_loss,
            query_metric=query_metric,
            query_steps=self._query_steps,
        )

    def _recorded(
        self, params: MetaParameters, values: list[Tensor], progress: Progress
    ) -> Function:
        def step(values: list[Tensor]) -> list[Tensor]:
            rest = iter(values)
            own = MetaParameters(
                theta={name: next(rest) for name in params.theta},
                state={name: next(rest) for name in params.state},
            )
            found = self._learner.meta_gradient(own, Episode(*rest), progress)
            self._query_steps = found.query_steps
            tensors = *found.gradient.values(), *(found.state[name] for name in params.state)
            return [*tensors, found.loss, found.query_loss, found.query_metric]

        return self._record(step, values)


def traced(function: Function, example: list[Tensor]) -> Function:
    """The function's tensor operations in a row, as torch.fx writes them down; for a CPU."""
    graph = make_fx(function)(example)
    graph.graph.eliminate_dead_code()
    graph.recompile()

    def replay(values: list[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            found: list[Tensor] = graph(values)
        return found

    return replay


def cuda_graph(function: Function, example: list[Tensor]) -> Function:
    """The function's kernels, launched all at once; a wait for the GPU within raises RuntimeError.

    Source: torch's notes on CUDA graphs, "whole-network capture".
    """
    places = [tensor.clone() for tensor in example]
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            function(places)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = function(places)

    def replay(values: list[Tensor]) -> list[Tensor]:
        for place, value in zip(places, values, strict=True):
            place.copy_(value)
        graph.replay()
        return [tensor.clone() for tensor in found]  # the next replay writes to the same places

    return replay
