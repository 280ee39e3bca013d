"""Batch normalisation as a value: the caller decides which statistics normalise, not a mode flag.

A network is handed a `Norm` for one pass; evaluation therefore cannot change hidden state.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.types import Tensors

EPS = 1e-5


class Norm(ABC):
    """Normalises what passes through a network in one pass.

    `statistics` holds the batch statistics of the layers passed so far, if this kind has any:
    `LAYER.mean` and `LAYER.var` (biased, so that they normalise as they did when they are given
    back), shape `(features,)`.
    """

    def __init__(self) -> None:
        self.statistics: dict[str, Tensor] = {}

    @abstractmethod
    def __call__(self, layer: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        """Normalise `x`, `(batch, features, ...)`, with gain and bias `LAYER.weight|bias`.

        A layer without a gain or without a bias has no such parameter.
        """

    def conv_and_pool(self, block: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        """3x3 convolution, normalisation and 2x2 max-pooling by the block's `conv` and `norm`."""
        x = F.conv2d(x, params[f"{block}.conv.weight"], params[f"{block}.conv.bias"], padding=1)
        return F.max_pool2d(self(f"{block}.norm", x, params, eps), 2)


class BatchStats(Norm):
    """Normalises with the statistics of the batch itself.

    `y = weight * (x - mean) / sqrt(var + eps) + bias`, mean and (biased) var over batch and space.
    """

    def __call__(self, layer: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        weight, bias = affine(layer, x, params)
        y, mean, inv_std = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        self.statistics[f"{layer}.mean"] = mean.detach()
        self.statistics[f"{layer}.var"] = (inv_std.detach() ** -2 - eps).clamp_min(0)
        return y


class GivenStats(Norm):
    """Normalises with statistics from elsewhere: the support set's, or running ones."""

    def __init__(self, given: Tensors) -> None:
        super().__init__()
        self._given = given

    def __call__(self, layer: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        mean, var = self._given[f"{layer}.mean"], self._given[f"{layer}.var"]
        weight, bias = affine(layer, x, params)
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)


def affine(layer: str, x: Tensor, params: Tensors) -> tuple[Tensor, Tensor]:
    """A layer's gain and bias, `(features,)`; a missing gain is 1, a missing bias 0."""
    weight, bias = params.get(f"{layer}.weight"), params.get(f"{layer}.bias")
    if bias is None:
        bias = x.new_zeros(x.shape[1] if weight is None else len(weight))
    return x.new_ones(len(bias)) if weight is None else weight, bias
