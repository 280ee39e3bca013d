"""The four-block convolutional network of Matching Networks, in the forms that papers give it."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn.init import normal_, xavier_uniform_

from maml_cli.core.batch_norm import Norm
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
    TensorFlow's SAME padding does. Kernels start Xavier-uniform, biases at 0, norm gains at 1.
    """

    name: str
    filters: Annotated[int, Field(ge=1, le=4096, description="channels of every block")]
    downsample: Annotated[
        Literal["max_pool", "max_pool_same", "stride"],
        Field(description="how a block halves; max_pool drops an odd last row, same keeps it"),
    ]
    negative_slope: Annotated[float, Field(ge=0, le=1, description="of the leaky ReLU; 0: ReLU")]
    norm_gain: Annotated[bool, Field(description="batch norms learn a gain; false: a bias alone")]
    norm_eps: Annotated[float, Field(gt=0, le=0.1, description="added to batch norms' variances")]
    features: Annotated[
        Literal["flatten", "mean"], Field(description="what the head sees of the last block")
    ]
    head_init: Annotated[
        Literal["xavier", "normal"], Field(description="the head's weights; normal: N(0, 1)")
    ]

    def init(
        self, input_shape: tuple[int, ...], outputs: int, generator: Generator
    ) -> dict[str, Tensor]:
        """Fresh parameters for inputs `(channels, height, width)` and that many outputs."""
        channels, height, width = input_shape
        rest = 0 if self.downsample == "max_pool" else 1
        params: dict[str, Tensor] = {}
        for block in range(BLOCKS):
            kernel = torch.empty(self.filters, channels, KERNEL, KERNEL)
            params[f"body.{block}.conv.weight"] = xavier_uniform_(kernel, generator=generator)
            params[f"body.{block}.conv.bias"] = torch.zeros(self.filters)
            if self.norm_gain:
                params[f"body.{block}.norm.weight"] = torch.ones(self.filters)
            params[f"body.{block}.norm.bias"] = torch.zeros(self.filters)
            channels = self.filters
            height, width = (height + rest) // 2, (width + rest) // 2
        features = self.filters * (height * width if self.features == "flatten" else 1)
        head = torch.empty(outputs, features)
        start = xavier_uniform_ if self.head_init == "xavier" else normal_
        params["head.weight"] = start(head, generator=generator)
        params["head.bias"] = torch.zeros(outputs)
        return params

    def apply(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """Outputs `(batch, outputs)` for inputs `(batch, channels, height, width)`."""
        if not self.norm_gain:
            ones = x.new_ones(self.filters)
            params = {**params, **{f"body.{i}.norm.weight": ones for i in range(BLOCKS)}}
        for block in (f"body.{i}" for i in range(BLOCKS)):
            # The activation increases, so it commutes with pooling: on a quarter of the values.
            x = F.leaky_relu(self._halved(block, params, x, norm), self.negative_slope)
        x = x.flatten(1) if self.features == "flatten" else x.mean((2, 3))
        return F.linear(x, params["head.weight"], params["head.bias"])

    def _halved(self, block: str, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        if self.downsample == "max_pool":
            return norm.conv_and_pool(block, x, params, self.norm_eps)
        kernel, bias = params[f"{block}.conv.weight"], params[f"{block}.conv.bias"]
        if self.downsample == "stride":
            height, width = x.shape[2:]
            x = F.pad(x, (width % 2, 1, height % 2, 1))  # SAME: of an odd sum, more at the end
            return norm(f"{block}.norm", F.conv2d(x, kernel, bias, stride=2), params, self.norm_eps)
        x = norm(f"{block}.norm", F.conv2d(x, kernel, bias, padding=1), params, self.norm_eps)
        return F.max_pool2d(x, 2, ceil_mode=True)
