"""Convolutions and linear layers with ReLU and no batch norm, layer by layer."""

from itertools import pairwise
from math import prod
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn.init import trunc_normal_

from maml_cli.core.layered import Layer, LayeredNetwork, Unit, biased
from maml_cli.core.norms import Norm
from maml_cli.core.settings import STRICT
from maml_cli.core.types import Tensors

Multiple = Annotated[int, Field(ge=1, le=64)]
Convolutions = Annotated[list[Multiple], Field(min_length=1, max_length=16)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlainConv:
    """Blocks of 3x3 convolutions with ReLU, each halved by 2x2 max-pooling; then linear layers.

    Weights start normal, cut off at two deviations; biases at 0.
    """

    name: str
    filters: Annotated[int, Field(ge=1, le=4096, description="the unit in which blocks count")]
    blocks: Annotated[
        list[Convolutions],
        Field(max_length=16, description="of each block its convolutions, in multiples of filters"),
    ]
    hidden: Annotated[
        list[Annotated[int, Field(ge=1, le=65536)]],
        Field(max_length=64, description="units of the linear layers after the blocks"),
    ]
    biases: Annotated[bool, Field(description="false: no layer has any, the head neither")]
    keep_odd: Annotated[bool, Field(description="pooling keeps an odd last row; false: drops it")]
    weight_std: Annotated[
        float | None,
        Field(gt=0, le=10, description="deviation of the first weights; null: 1/sqrt(inputs)"),
    ]

    def build(self, input_shape: tuple[int, ...]) -> "PlainConvNetwork":
        """The network for inputs `(channels, height, width)`."""
        return PlainConvNetwork(self, input_shape)


class PlainConvNetwork(LayeredNetwork):
    """See `PlainConv`; the convolutions are `body.conv.BLOCK.PLACE`, the others `body.linear.I`."""

    convolutional = True

    def __init__(self, form: PlainConv, input_shape: tuple[int, ...]) -> None:
        self._form, self.input_shape = form, input_shape
        channels, height, width = input_shape
        rest = 1 if form.keep_odd else 0
        self.convolutions: list[list[Layer]] = []
        """Of each block."""
        for block, multiples in enumerate(form.blocks):
            sizes = pairwise([channels, *(form.filters * m for m in multiples)])
            self.convolutions.append(
                [
                    Layer(f"body.conv.{block}.{place}", (outputs, inputs, 3, 3))
                    for place, (inputs, outputs) in enumerate(sizes)
                ]
            )
            channels = form.filters * multiples[-1]
            height, width = (height + rest) // 2, (width + rest) // 2
        units = pairwise([channels * height * width, *form.hidden])
        self.linear = [
            Layer(f"body.linear.{i}", (outputs, inputs))
            for i, (inputs, outputs) in enumerate(units)
        ]
        """After the blocks."""
        self.feature_shape = (form.hidden[-1],) if form.hidden else (channels, height, width)

    @property
    def layers(self) -> list[Layer]:
        return [layer for block in self.convolutions for layer in block] + self.linear

    def init(self, generator: Generator) -> dict[str, Tensor]:
        params: dict[str, Tensor] = {}
        for layer in self.layers:
            params |= self._fresh(layer.name, layer.shape, generator)
        return params

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        return self._fresh("head", (outputs, prod(self.feature_shape)), generator)

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        def unit(layer: Layer, x: Tensor) -> Tensor:
            return F.relu(
                biased(layer.apply(x, params[f"{layer.name}.weight"]), params, layer.name)
            )

        return self.through(x, unit)

    def through(self, x: Tensor, unit: Unit) -> Tensor:
        for block in self.convolutions:
            for layer in block:
                x = unit(layer, x)
            x = F.max_pool2d(x, 2, ceil_mode=self._form.keep_odd)
        if self.linear:
            x = x.flatten(1)
        for layer in self.linear:
            x = unit(layer, x)
        return x

    def head(self, params: Tensors, features: Tensor) -> Tensor:
        return F.linear(features.flatten(1), params["head.weight"], params.get("head.bias"))

    def _fresh(self, name: str, shape: tuple[int, ...], generator: Generator) -> dict[str, Tensor]:
        std = self._form.weight_std or prod(shape[1:]) ** -0.5
        weight = trunc_normal_(
            torch.empty(shape), std=std, a=-2 * std, b=2 * std, generator=generator
        )
        bias = {f"{name}.bias": torch.zeros(shape[0])} if self._form.biases else {}
        return {f"{name}.weight": weight, **bias}
