"""Joins named tensors to one vector, and cuts such a vector into tensors again."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maml_cli.core.types import Tensors


def flattened(tensors: Tensors, names: Sequence[str]) -> Tensor:
    """The entries of the named tensors, one tensor after the other, `(coordinates,)`."""
    return torch.cat([tensors[name].reshape(-1) for name in names])


def unflattened(row: Tensor, like: Tensors, names: Sequence[str]) -> dict[str, Tensor]:
    """The opposite: tensors of the shapes of those in `like`."""
    parts = torch.split(row, [like[name].numel() for name in names])
    return {name: part.view(like[name].shape) for name, part in zip(names, parts, strict=True)}
