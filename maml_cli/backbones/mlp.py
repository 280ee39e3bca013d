"""Fully connected networks, as in the MAML paper: for sinusoid, and for Omniglot ("no conv")."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import prod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn.init import trunc_normal_, uniform_

from maml_cli.core.network import Network
from maml_cli.core.norms import LinearLayer, Norm
from maml_cli.core.settings import STRICT
from maml_cli.core.types import Tensors

Activation = Literal["relu", "sigmoid", "tanh"]
FUNCTIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MLP:
    """Linear layers on flattened inputs, with (batch norm and) an activation on all but the last.

    They start as in the official MAML code (`truncated_normal`): weights normal with deviation
    0.01, cut off at two deviations, biases at 0; or (`uniform`) as torch's own layers do, all
    uniform in +-1/sqrt(inputs), as in Reptile's sine script.
    """

    name: str
    hidden: Annotated[
        list[Annotated[int, Field(ge=1, le=65536)]],
        Field(max_length=64, description="units of each hidden layer"),
    ]
    activation: Annotated[Activation, Field(description="of the hidden layers")]
    batch_norm: Annotated[bool, Field(description="in every hidden layer, before its activation")]
    norm_gain: Annotated[bool, Field(description="batch norms learn a gain; false: a bias alone")]
    norm_eps: Annotated[float, Field(gt=0, le=0.1, description="added to batch norms' variances")]
    weight_init: Annotated[
        Literal["truncated_normal", "uniform"], Field(description="how weights start")
    ]

    def build(self, input_shape: tuple[int, ...]) -> Network:
        """The network for inputs of that shape, flattened."""
        return MLPNetwork(self, input_shape)


class MLPNetwork(Network):
    """See `MLP`; the hidden layers are `body.0` and so on."""

    def __init__(self, form: MLP, input_shape: tuple[int, ...]) -> None:
        self._form, self.input_shape = form, input_shape
        self._sizes = [prod(input_shape), *form.hidden]
        self.feature_shape = (self._sizes[-1],)
        units = enumerate(form.hidden)
        self.norms = {f"body.{i}.norm": n for i, n in units} if form.batch_norm else {}

    def init(self, generator: Generator) -> dict[str, Tensor]:
        params: dict[str, Tensor] = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(self._sizes)):
            params |= self._linear(f"body.{layer}", fan_in, fan_out, generator)
            if self._form.batch_norm:
                if self._form.norm_gain:
                    params[f"body.{layer}.norm.weight"] = torch.ones(fan_out)
                params[f"body.{layer}.norm.bias"] = torch.zeros(fan_out)
        return params

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        return self._linear("head", self._sizes[-1], outputs, generator)

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        x, eps = x.flatten(1), self._form.norm_eps
        for layer in (f"body.{i}" for i in range(len(self._form.hidden))):
            weight, bias = params[f"{layer}.weight"], params[f"{layer}.bias"]
            source = LinearLayer(x, weight, bias, F.linear)
            x = F.linear(x, weight, bias)
            if self._form.batch_norm:
                x = norm(f"{layer}.norm", x, params, eps, source)
            x = FUNCTIONS[self._form.activation](x)
        return x

    def _linear(
        self, name: str, fan_in: int, fan_out: int, generator: Generator
    ) -> dict[str, Tensor]:
        weight, bias = torch.empty(fan_out, fan_in), torch.zeros(fan_out)
        if self._form.weight_init == "truncated_normal":
            trunc_normal_(weight, std=0.01, a=-0.02, b=0.02, generator=generator)
        else:
            bound = fan_in**-0.5
            for tensor in (weight, bias):
                uniform_(tensor, -bound, bound, generator=generator)
        return {f"{name}.weight": weight, f"{name}.bias": bias}
