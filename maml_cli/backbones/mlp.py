"""The fully connected networks of the MAML paper: for sinusoid, and for Omniglot ("no conv")."""

from itertools import pairwise
from math import prod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn.init import trunc_normal_, uniform_

from maml_cli.core.batch_norm import Norm
from maml_cli.core.settings import STRICT
from maml_cli.core.types import Tensors


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MLP:
    """Linear layers on flattened inputs, with (batch norm and) ReLU after all but the last.

    They start as in the official MAML code (`truncated_normal`): weights normal with deviation
    0.01, cut off at two deviations, biases at 0; or (`uniform`) as torch's own layers do, all
    uniform in +-1/sqrt(inputs), as in Reptile's sine script.
    """

    name: str
    hidden: Annotated[
        list[Annotated[int, Field(ge=1, le=65536)]],
        Field(max_length=64, description="units of each hidden layer"),
    ]
    batch_norm: Annotated[bool, Field(description="in every hidden layer, before its ReLU")]
    norm_gain: Annotated[bool, Field(description="batch norms learn a gain; false: a bias alone")]
    norm_eps: Annotated[float, Field(gt=0, le=0.1, description="added to batch norms' variances")]
    weight_init: Annotated[
        Literal["truncated_normal", "uniform"], Field(description="how weights start")
    ]

    def init(
        self, input_shape: tuple[int, ...], outputs: int, generator: Generator
    ) -> dict[str, Tensor]:
        """Fresh parameters for inputs of that shape (flattened) and that many outputs."""
        params: dict[str, Tensor] = {}
        sizes = [prod(input_shape), *self.hidden, outputs]
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            prefix = self._prefix(layer)
            weight, bias = torch.empty(fan_out, fan_in), torch.zeros(fan_out)
            if self.weight_init == "truncated_normal":
                trunc_normal_(weight, std=0.01, a=-0.02, b=0.02, generator=generator)
            else:
                bound = fan_in**-0.5
                for tensor in (weight, bias):
                    uniform_(tensor, -bound, bound, generator=generator)
            params[f"{prefix}.weight"], params[f"{prefix}.bias"] = weight, bias
            if self.batch_norm and layer < len(self.hidden):
                if self.norm_gain:
                    params[f"{prefix}.norm.weight"] = torch.ones(fan_out)
                params[f"{prefix}.norm.bias"] = torch.zeros(fan_out)
        return params

    def apply(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """Outputs `(batch, outputs)` for inputs `(batch, ...)`."""
        x = x.flatten(1)
        if self.batch_norm and not self.norm_gain:
            units = enumerate(self.hidden)
            ones = {f"{self._prefix(layer)}.norm.weight": x.new_ones(n) for layer, n in units}
            params = {**params, **ones}
        for layer in range(len(self.hidden)):
            prefix = self._prefix(layer)
            x = F.linear(x, params[f"{prefix}.weight"], params[f"{prefix}.bias"])
            x = F.relu(norm(f"{prefix}.norm", x, params, self.norm_eps) if self.batch_norm else x)
        return F.linear(x, params["head.weight"], params["head.bias"])

    def _prefix(self, layer: int) -> str:
        return f"body.{layer}" if layer < len(self.hidden) else "head"
