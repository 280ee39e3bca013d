"""Batch normalisation as a value: which statistics normalise is decided by the caller, not by a mode flag.

A backbone is handed a `Norm` and calls it; evaluation therefore cannot change hidden state.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.types import Tensors

EPS = 1e-5


class Norm(Protocol):
    """Normalises `x` of shape `(batch, features, ...)` with the gain and bias at `name`.

    `collected` holds the batch statistics met so far, if this kind gathers any: `NAME.mean` and
    `NAME.var`, of shape `(features,)`.
    """

    collected: dict[str, Tensor]

    def __call__(self, name: str, x: Tensor, params: Tensors) -> Tensor: ...


class BatchStats:
    """Normalises with the statistics of the batch itself, and keeps them in `collected`.

    `y = weight * (x - mean) / sqrt(var + eps) + bias`, mean and (biased) var over batch and space.
    The variance kept is the biased one, so that statistics given back normalise as they did here.
    """

    def __init__(self) -> None:
        self.collected: dict[str, Tensor] = {}

    def __call__(self, name: str, x: Tensor, params: Tensors) -> Tensor:
        y, mean, inv_std = torch.native_batch_norm(
            x, params[f"{name}.weight"], params[f"{name}.bias"], None, None, True, 0.0, EPS
        )
        self.collected[f"{name}.mean"] = mean.detach()
        self.collected[f"{name}.var"] = (inv_std.detach() ** -2 - EPS).clamp_min(0)
        return y


class GivenStats:
    """Normalises with statistics from elsewhere: the support set's, or running ones."""

    def __init__(self, stats: Tensors) -> None:
        self.stats = stats
        self.collected: dict[str, Tensor] = {}

    def __call__(self, name: str, x: Tensor, params: Tensors) -> Tensor:
        return F.batch_norm(
            x,
            self.stats[f"{name}.mean"],
            self.stats[f"{name}.var"],
            params[f"{name}.weight"],
            params[f"{name}.bias"],
            training=False,
            eps=EPS,
        )
