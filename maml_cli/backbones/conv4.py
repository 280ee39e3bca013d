"""The four-block convolutional network of Matching Networks, MAML and MAML++."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn.init import xavier_uniform_

from maml_cli.core.batch_norm import Norm
from maml_cli.core.settings import STRICT
from maml_cli.core.types import Tensors

BLOCKS = 4
KERNEL = 3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Conv4:
    """Four times convolution 3x3, batch norm, (leaky) ReLU and halving of the image; then linear.

    `max_pool` halves with 2x2 max-pooling and flattens what is left (MAML++: 28 -> 1, 84 -> 5);
    `stride` halves with strided convolutions and averages over space (MAML on Omniglot).
    Weights start Xavier-uniform, biases at 0, norm gains at 1.
    """

    name: str
    filters: Annotated[int, Field(ge=1, le=4096, description="channels of every block")]
    downsample: Annotated[Literal["max_pool", "stride"], Field(description="how a block halves")]
    negative_slope: Annotated[float, Field(ge=0, le=1, description="of the leaky ReLU; 0: ReLU")]

    def init(
        self, input_shape: tuple[int, ...], outputs: int, generator: Generator
    ) -> dict[str, Tensor]:
        """Fresh parameters for inputs `(channels, height, width)` and that many outputs."""
        channels, height, width = input_shape
        params: dict[str, Tensor] = {}
        for block in range(BLOCKS):
            kernel = torch.empty(self.filters, channels, KERNEL, KERNEL)
            params[f"body.{block}.conv.weight"] = xavier_uniform_(kernel, generator=generator)
            params[f"body.{block}.conv.bias"] = torch.zeros(self.filters)
            params[f"body.{block}.norm.weight"] = torch.ones(self.filters)
            params[f"body.{block}.norm.bias"] = torch.zeros(self.filters)
            channels = self.filters
            height, width = height // 2, width // 2
        features = self.filters * (height * width if self.downsample == "max_pool" else 1)
        params["head.weight"] = xavier_uniform_(torch.empty(outputs, features), generator=generator)
        params["head.bias"] = torch.zeros(outputs)
        return params

    def apply(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """Outputs `(batch, outputs)` for inputs `(batch, channels, height, width)`."""
        for block in (f"body.{i}" for i in range(BLOCKS)):
            # The activation increases, so it commutes with pooling: on a quarter of the values.
            x = F.leaky_relu(self._halved(block, params, x, norm), self.negative_slope)
        x = x.flatten(1) if self.downsample == "max_pool" else x.mean((2, 3))
        return F.linear(x, params["head.weight"], params["head.bias"])

    def _halved(self, block: str, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        if self.downsample == "max_pool":
            return norm.conv_and_pool(block, x, params)
        weight, bias = params[f"{block}.conv.weight"], params[f"{block}.conv.bias"]
        return norm(f"{block}.norm", F.conv2d(x, weight, bias, stride=2, padding=1), params)
