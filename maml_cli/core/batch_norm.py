"""Batch normalisation as a value: the caller decides which statistics normalise, not a mode flag.

A backbone is handed a `Norm` and calls it; evaluation therefore cannot change hidden state.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.types import Tensors
from maml_cli.engines import fused

EPS = 1e-5


class Norm(ABC):
    """Normalises what passes through a network.

    `collected` holds the batch statistics met so far, if this kind gathers any: `NAME.mean` and
    `NAME.var` (biased, so that statistics given back normalise as they did), shape `(features,)`.
    """

    def __init__(self) -> None:
        self.collected: dict[str, Tensor] = {}

    @abstractmethod
    def __call__(self, name: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        """Normalise `x`, `(batch, features, ...)`, with the gain and bias `NAME.weight|bias`."""

    def conv_and_pool(self, block: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        """3x3 convolution, normalisation and 2x2 max-pooling by the block's `conv` and `norm`."""
        x = F.conv2d(x, params[f"{block}.conv.weight"], params[f"{block}.conv.bias"], padding=1)
        return F.max_pool2d(self(f"{block}.norm", x, params, eps), 2)


class BatchStats(Norm):
    """Normalises with the statistics of the batch itself, and keeps them in `collected`.

    `y = weight * (x - mean) / sqrt(var + eps) + bias`, mean and (biased) var over batch and space.
    """

    def __call__(self, name: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        y, mean, inv_std = torch.native_batch_norm(
            x, params[f"{name}.weight"], params[f"{name}.bias"], None, None, True, 0.0, eps
        )
        self.collected[f"{name}.mean"] = mean.detach()
        self.collected[f"{name}.var"] = (inv_std.detach() ** -2 - eps).clamp_min(0)
        return y


class FusedBatchStats(BatchStats):
    """The same with blocks that differentiate twice at less cost (`engines/fused.py`).

    A convolution's bias only moves the mean that is then subtracted, so it is left out of the work.
    """

    def conv_and_pool(self, block: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        y, mean, var = fused.block(
            x,
            params[f"{block}.conv.weight"],
            params[f"{block}.norm.weight"],
            params[f"{block}.norm.bias"],
            eps,
        )
        self.collected[f"{block}.norm.mean"] = mean + params[f"{block}.conv.bias"].detach()
        self.collected[f"{block}.norm.var"] = var
        return y


class GivenStats(Norm):
    """Normalises with statistics from elsewhere: the support set's, or running ones."""

    def __init__(self, stats: Tensors) -> None:
        super().__init__()
        self.stats = stats

    def __call__(self, name: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        return F.batch_norm(
            x,
            self.stats[f"{name}.mean"],
            self.stats[f"{name}.var"],
            params[f"{name}.weight"],
            params[f"{name}.bias"],
            training=False,
            eps=eps,
        )
