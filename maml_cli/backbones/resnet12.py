"""The twelve-layer residual network of few-shot learning on Mini-ImageNet.

Source: Lee, Maji, Ravichandran & Soatto 2019 (MetaOptNet), section 4.1; under MAML, with the mean
over space as here: Ye & Chao 2022.
"""

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn.init import kaiming_normal_, xavier_uniform_

from maml_cli.core.network import Network
from maml_cli.core.norms import LinearLayer, Norm
from maml_cli.core.settings import STRICT
from maml_cli.core.types import Tensors

LAYERS = 3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResNet12:
    """Four residual blocks of three 3x3 convolutions, the mean over space, then linear.

    A block is `max_pool_2x2(act(norm(conv(act(norm(conv(act(norm(conv(x)))))))) +
    norm(conv_1x1(x))))` with leaky ReLU and convolutions without biases. Kernels start
    Kaiming-normal (fan-out), the head Xavier-uniform, biases at 0, norm gains at 1. There is no
    DropBlock.
    """

    name: str
    widths: Annotated[
        list[Annotated[int, Field(ge=1, le=4096)]],
        Field(min_length=4, max_length=4, description="channels of each block"),
    ]
    negative_slope: Annotated[float, Field(ge=0, le=1, description="of the leaky ReLU; 0: ReLU")]

    def build(self, input_shape: tuple[int, ...]) -> Network:
        """The network for inputs `(channels, height, width)`."""
        return ResNet12Network(self, input_shape)


class ResNet12Network(Network):
    """See `ResNet12`; block b has the layers `body.b.0` to `body.b.2` and `body.b.shortcut`."""

    convolutional = True

    def __init__(self, form: ResNet12, input_shape: tuple[int, ...]) -> None:
        self._form, self.input_shape = form, input_shape
        self._channels = input_shape[0]
        self.feature_shape = (form.widths[-1],)
        self.norms = {
            f"body.{block}.{layer}.norm": width
            for block, width in enumerate(form.widths)
            for layer in (*range(LAYERS), "shortcut")
        }

    def init(self, generator: Generator) -> dict[str, Tensor]:
        params: dict[str, Tensor] = {}

        def add(layer: str, channels: int, width: int, size: int) -> None:
            kernel = torch.empty(width, channels, size, size)
            params[f"{layer}.conv.weight"] = kaiming_normal_(
                kernel, mode="fan_out", generator=generator
            )
            params[f"{layer}.norm.weight"] = torch.ones(width)
            params[f"{layer}.norm.bias"] = torch.zeros(width)

        for block, (channels, width) in enumerate(pairwise([self._channels, *self._form.widths])):
            for layer in range(LAYERS):
                add(f"body.{block}.{layer}", width if layer else channels, width, 3)
            add(f"body.{block}.shortcut", channels, width, 1)
        return params

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        head = torch.empty(outputs, self._form.widths[-1])
        return {
            "head.weight": xavier_uniform_(head, generator=generator),
            "head.bias": torch.zeros(outputs),
        }

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        slope = self._form.negative_slope

        def normalised(layer: str, x: Tensor) -> Tensor:
            source = LinearLayer(x, params[f"{layer}.conv.weight"], None, _same)
            outputs = source.apply(x, source.weight)
            return norm(f"{layer}.norm", outputs, params, source=source)

        for block in (f"body.{i}" for i in range(len(self._form.widths))):
            rest = normalised(f"{block}.0", x)
            for layer in range(1, LAYERS):
                rest = normalised(f"{block}.{layer}", F.leaky_relu(rest, slope))
            x = rest + normalised(f"{block}.shortcut", x)
            # The activation increases, so it commutes with pooling: on a quarter of the values.
            x = F.leaky_relu(F.max_pool2d(x, 2), slope)
        return x.mean((2, 3))


def _same(x: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x, kernel, padding="same")
