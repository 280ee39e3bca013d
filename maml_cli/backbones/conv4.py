"""The four-block convolutional network of Matching Networks, in the forms that papers give it."""

from functools import partial
from math import prod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn.init import normal_, xavier_uniform_

from maml_cli.core.network import Network
from maml_cli.core.norms import LinearLayer, Norm
from maml_cli.core.settings import STRICT
from maml_cli.core.types import Tensors

BLOCKS = 4
KERNEL = 3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Conv4:
    """Four times convolution 3x3, batch norm, (leaky) ReLU and halving of the image; then linear.

    `max_pool` halves with 2x2 max-pooling (28 -> 14 -> 7 -> 3 -> 1); an odd last row or column is
    dropped, and with `max_pool_same` pooled by itself (84 -> 42 -> 21 -> 11 -> 6); `stride` halves
    with the convolution (28 -> 14 -> 7 -> 4 -> 2). "Same" and strides place their zeros as
    TensorFlow's SAME padding does. With `max_pool_twice` the first two blocks have no padding and
    halve, and the others keep the size (28 -> 13 -> 5). Kernels start Xavier-uniform and biases at
    0; with `torch`, both start uniform within `+- 1 / sqrt(inputs of an output)`. Norm gains start
    at 1.
    """

    name: str
    filters: Annotated[int, Field(ge=1, le=4096, description="channels of every block")]
    downsample: Annotated[
        Literal["max_pool", "max_pool_same", "max_pool_twice", "stride"],
        Field(
            description="how a block halves; max_pool drops an odd last row, same keeps it; "
            "twice: the first two blocks alone, without padding"
        ),
    ]
    negative_slope: Annotated[float, Field(ge=0, le=1, description="of the leaky ReLU; 0: ReLU")]
    kernel_init: Annotated[
        Literal["xavier", "torch", "normal"],
        Field(
            description="kernels Xavier-uniform, biases 0; torch: both as torch starts them; "
            "normal: kernels N(0, 2 / (9 filters)), biases 0"
        ),
    ]
    norm_gain: Annotated[bool, Field(description="batch norms learn a gain; false: a bias alone")]
    norm_eps: Annotated[float, Field(gt=0, le=0.1, description="added to batch norms' variances")]
    features: Annotated[
        Literal["flatten", "mean"], Field(description="what the head sees of the last block")
    ]
    head_init: Annotated[
        Literal["xavier", "normal"], Field(description="the head's weights; normal: N(0, 1)")
    ]

    def build(self, input_shape: tuple[int, ...]) -> Network:
        """The network for inputs `(channels, height, width)`."""
        return Conv4Network(self, input_shape)

    def halved(self, size: int, block: int) -> int:
        """The height or width that a block makes of another."""
        if self.downsample == "max_pool_twice":
            return (size - KERNEL + 1) // 2 if block < 2 else size
        return (size + (self.downsample != "max_pool")) // 2


class Conv4Network(Network):
    """See `Conv4`; the blocks are `body.0` to `body.3`, each with a `conv` and a `norm`."""

    convolutional = True

    def __init__(self, form: Conv4, input_shape: tuple[int, ...]) -> None:
        self._form = form
        self.input_shape = input_shape
        self._channels, height, width = input_shape
        for block in range(BLOCKS):
            height, width = (form.halved(size, block) for size in (height, width))
        places = (height, width) if form.features == "flatten" else ()
        self.feature_shape = (form.filters, *places)
        self.norms = {f"body.{block}.norm": form.filters for block in range(BLOCKS)}

    def init(self, generator: Generator) -> dict[str, Tensor]:
        channels, filters = self._channels, self._form.filters
        params: dict[str, Tensor] = {}
        for block in range(BLOCKS):
            kernel = torch.empty(filters, channels, KERNEL, KERNEL)
            bias = torch.zeros(filters)
            if self._form.kernel_init == "xavier":
                xavier_uniform_(kernel, generator=generator)
            elif self._form.kernel_init == "normal":
                normal_(kernel, std=(2 / (KERNEL**2 * filters)) ** 0.5, generator=generator)
            else:
                bound = (channels * KERNEL**2) ** -0.5
                kernel.uniform_(-bound, bound, generator=generator)
                bias.uniform_(-bound, bound, generator=generator)
            params[f"body.{block}.conv.weight"] = kernel
            params[f"body.{block}.conv.bias"] = bias
            if self._form.norm_gain:
                params[f"body.{block}.norm.weight"] = torch.ones(filters)
            params[f"body.{block}.norm.bias"] = torch.zeros(filters)
            channels = filters
        return params

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        head = torch.empty(outputs, prod(self.feature_shape))
        start = xavier_uniform_ if self._form.head_init == "xavier" else normal_
        return {
            "head.weight": start(head, generator=generator),
            "head.bias": torch.zeros(outputs),
        }

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        for block in range(BLOCKS):
            # The activation increases, so it commutes with pooling: on a quarter of the values.
            x = F.leaky_relu(self._halved(block, params, x, norm), self._form.negative_slope)
        return x if self._form.features == "flatten" else x.mean((2, 3))

    def _halved(self, number: int, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        block, eps = f"body.{number}", self._form.norm_eps
        if self._form.downsample == "max_pool":
            return norm.conv_and_pool(block, x, params, eps)
        kernel, bias = params[f"{block}.conv.weight"], params[f"{block}.conv.bias"]
        if self._form.downsample == "stride":
            height, width = x.shape[2:]
            x = F.pad(x, (width % 2, 1, height % 2, 1))  # SAME: of an odd sum, more at the end
            source = LinearLayer(x, kernel, bias, partial(F.conv2d, stride=2))
            return norm(f"{block}.norm", F.conv2d(x, kernel, bias, stride=2), params, eps, source)
        twice = self._form.downsample == "max_pool_twice"
        convolve = partial(F.conv2d, padding=0 if twice and number < 2 else 1)
        source = LinearLayer(x, kernel, bias, convolve)
        x = norm(f"{block}.norm", convolve(x, kernel, bias), params, eps, source)
        return x if twice and number >= 2 else F.max_pool2d(x, 2, ceil_mode=not twice)
