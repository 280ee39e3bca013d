"""Engines on a GPU whose results can be compared with the CPU's."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from maml_cli.core.algorithm import Algorithm, MetaParameters, Phase, TaskStep
from maml_cli.core.types import Episode, Evaluation
from maml_cli.engines.engine import Engine
from maml_cli.engines.per_task import loop
from maml_cli.engines.recorded import Recorded, cuda_graph
from maml_cli.engines.vmap import Vmap

T = TypeVar("T")


class OnGpu(Engine):
    """An engine that sends its inputs to the GPU and brings its results back."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.algorithm)
        self._engine = engine
        self.name = f"{engine.name} on the GPU"

    def step(self, params: MetaParameters, episodes: Episode, phase: Phase) -> TaskStep:
        there = replace(params.to(_GPU), inputs=_sent(params.inputs, _GPU))
        return _sent(self._engine.step(there, _sent(episodes, _GPU), phase), _CPU)

    def predict(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        return self._engine.predict(params.to(_GPU), _sent(episodes, _GPU), evaluation).to(_CPU)


GPU_ENGINES: Mapping[str, Callable[[Algorithm], Engine]] = {
    "loop on the GPU": lambda algorithm: OnGpu(loop(algorithm)),
    "vmap on the GPU": lambda algorithm: OnGpu(Vmap(algorithm)),
    "graph on the GPU": lambda algorithm: OnGpu(Recorded(Vmap(algorithm), cuda_graph)),
}
"""The engines that a GPU has."""

_CPU, _GPU = torch.device("cpu"), torch.device("cuda")


def _sent(values: T, device: torch.device) -> T:
    def send(leaf: object) -> object:
        return leaf.to(device) if isinstance(leaf, Tensor) else leaf

    return tree_map(send, values)  # type: ignore[no-any-return]
