"""Networks whose layers an algorithm may compute in its own way, as with two sets of weights."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.network import Network
from maml_cli.core.types import Tensors


class Layer(NamedTuple):
    """One of the layers, without its activation."""

    name: str
    shape: tuple[int, ...]
    """Of its weight."""

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Its outputs without a bias, linear in both arguments."""
        return F.linear(x, weight) if weight.ndim == 2 else F.conv2d(x, weight, padding=1)


Unit = Callable[[Layer, Tensor], Tensor]
"""Outputs of a layer, its activation included, for its inputs."""


class LayeredNetwork(Network):
    """A network of convolutions and linear layers in a row, without norms."""

    @property
    @abstractmethod
    def layers(self) -> list[Layer]:
        """All of the body's, in order."""

    @abstractmethod
    def through(self, x: Tensor, unit: Unit) -> Tensor:
        """Features of inputs, where each layer is what `unit` makes of it; pooling is as ever."""


def biased(x: Tensor, params: Tensors, layer: str) -> Tensor:
    """With the layer's bias, if it has one."""
    bias = params.get(f"{layer}.bias")
    return x if bias is None else x + bias.view(1, -1, *[1] * (x.ndim - 2))
