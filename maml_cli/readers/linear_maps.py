"""The linear maps of a reader: parameters `NAME.weight` and `NAME.bias`."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.nn.init import xavier_uniform_

from maml_cli.core.types import Tensors


def fresh(sizes: Mapping[str, tuple[int, int]], generator: Generator) -> dict[str, Tensor]:
    """Weights by Glorot's uniform rule, and biases of zero, for inputs and outputs of each map."""
    params: dict[str, Tensor] = {}
    for name, (inputs, outputs) in sizes.items():
        weight = torch.empty(outputs, inputs)
        params[f"{name}.weight"] = xavier_uniform_(weight, generator=generator)
        params[f"{name}.bias"] = torch.zeros(outputs)
    return params


def linear(params: Tensors, name: str, x: Tensor) -> Tensor:
    """`x W' + b` of the map with this name, for x `(..., inputs)`."""
    return F.linear(x, params[f"{name}.weight"], params[f"{name}.bias"])
