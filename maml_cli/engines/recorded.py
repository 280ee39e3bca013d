"""An engine whose computation is recorded once and then replayed, without the Python it took.

A few-shot step is hundreds or thousands of small operations. To find out what they are, through
transforms of transforms, takes longer than to do them; but they are the same at every iteration.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from maml_cli.core.algorithm import MetaParameters, Phase, TaskStep
from maml_cli.core.errors import UsageError
from maml_cli.core.types import Episode, Evaluation
from maml_cli.engines.engine import Engine
from maml_cli.engines.written import written

WARM_UPS = 3
"""Libraries choose their kernels and take their memory in the first runs, outside of the graph."""

Function = Callable[[list[Tensor]], list[Tensor]]
Record = Callable[[Function, list[Tensor]], Function]
"""Takes a function, and inputs to record it on; gives the same for others of their shapes."""


class Recorded(Engine):
    """Replays what a batch of tasks says, computed by another engine when it was recorded.

    It is recorded again when the phase changes, or the shape of any tensor: of tensors only the
    values may differ between replays. Raises UsageError where an iteration cannot be recorded.
    """

    def __init__(self, engine: Engine, record: Record) -> None:
        super().__init__(engine.algorithm)
        self.name = "graph"
        self._engine = engine
        self._record = record
        self._key: object = None
        self._replay: Function | None = None
        self._form: Any = None

    def step(self, params: MetaParameters, episodes: Episode, phase: Phase) -> TaskStep:
        given, form = tree_flatten((params.theta, params.state, params.inputs, tuple(episodes)))
        values = [tensor.detach() for tensor in given]
        key = type(phase), phase, form, tuple((t.shape, t.dtype) for t in values)
        if self._replay is None or self._key != key:
            self._replay = None  # its memory goes before the next one takes its own
            self._replay = self._recorded(form, values, phase)
            self._key = key
        found: TaskStep = tree_unflatten(self._replay(values), self._form)
        return found

    def predict(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        return self._engine.predict(params, episodes, evaluation)

    def _recorded(self, form: TreeSpec, values: list[Tensor], phase: Phase) -> Function:
        def step(values: list[Tensor]) -> list[Tensor]:
            theta, state, inputs, episodes = tree_unflatten(values, form)
            own = MetaParameters(theta=theta, state=state, inputs=inputs)
            found = self._engine.step(own, Episode(*episodes), phase)
            tensors, self._form = tree_flatten(found)
            return tensors

        try:
            return self._record(step, values)
        except torch.OutOfMemoryError:
            raise  # another engine would need it too
        except RuntimeError as error:
            raise UsageError(
                f"engine=graph cannot record an iteration of this algorithm ({error}): set "
                "engine=vmap, which computes the same"
            ) from error


def traced(function: Function, example: list[Tensor]) -> Function:
    """The function's tensor operations in a row (`engines/written.py`); for a CPU.

    Nothing is computed meanwhile: the tensors have shapes and no values. So a function that reads a
    value back raises RuntimeError, where its graph would hold an old value. Tensors that it reads
    without being given them, such as the images of a data set, are read again at each replay.
    """
    graph = written(function, example)

    def replay(values: list[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            found: list[Tensor] = graph(values)
        return found

    return replay


def cuda_graph(function: Function, example: list[Tensor]) -> Function:
    """The function's kernels, launched all at once; a wait for the GPU within raises RuntimeError.

    They are recorded on the GPU that the example is on, whichever is the current one.
    Source: torch's notes on CUDA graphs, "whole-network capture".
    """
    places = [tensor.clone() for tensor in example]
    with torch.cuda.device(places[0].device):
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                function(places)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.graph(graph, stream=recording):  # torch's own is of the first GPU
            found = function(places)

    def replay(values: list[Tensor]) -> list[Tensor]:
        for place, value in zip(places, values, strict=True):
            place.copy_(value)
        graph.replay()
        return [tensor.clone() for tensor in found]  # the next replay writes to the same places

    return replay
