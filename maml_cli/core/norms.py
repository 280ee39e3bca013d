"""Batch normalisation as a value: the caller decides which statistics normalise, not a mode flag.

A network is handed a `Norm` for one pass; evaluation therefore cannot change hidden state.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.types import Tensors

EPS = 1e-5


@dataclass(frozen=True)
class LinearLayer:
    """The layer whose outputs a norm normalises: `apply(x, weight) + bias`, linear in x."""

    x: Tensor
    """Its inputs, `(batch, ...)`."""
    weight: Tensor
    """`(features, ...)`."""
    bias: Tensor | None
    apply: Callable[[Tensor, Tensor], Tensor]

    def means(self, x: Tensor) -> Tensor:
        """The mean output per feature, without the bias, for inputs whose mean is `x` (one row)."""
        return _mean(self.apply(x.unsqueeze(0), self.weight))

    def squared_lengths(self) -> Tensor:
        """The squared length of each feature's weights, `(features,)`."""
        return self.weight.flatten(1).square().sum(1)


class Norm(ABC):
    """Normalises what passes through a network in one pass.

    `statistics` holds what was gathered of the layers passed so far, as constants: the batch
    statistics `LAYER.mean` and `LAYER.var` (biased, so that they normalise as they did when they
    are given back), shape `(features,)`; or, where `gathers_inputs` asks for them, the statistics
    of `InputStats`.
    """

    gathers_inputs = False

    def __init__(self) -> None:
        self.statistics: dict[str, Tensor] = {}

    @abstractmethod
    def __call__(
        self,
        layer: str,
        x: Tensor,
        params: Tensors,
        eps: float = EPS,
        source: LinearLayer | None = None,
    ) -> Tensor:
        """Normalise `x`, `(batch, features, ...)`, with gain and bias `LAYER.weight|bias`.

        A layer without a gain or without a bias has no such parameter. `source` is the linear layer
        that x comes from, if it comes straight from one.
        """

    def conv_and_pool(self, block: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        """3x3 convolution, normalisation and 2x2 max-pooling by the block's `conv` and `norm`."""
        source = conv3x3(block, x, params)
        outputs = F.conv2d(x, source.weight, source.bias, padding=1)
        return F.max_pool2d(self(f"{block}.norm", outputs, params, eps, source), 2)

    def gather(self, layer: str, mean: Tensor, var: Tensor, source: LinearLayer | None) -> None:
        """Note a pass's batch statistics, or those of its inputs."""
        if not self.gathers_inputs:
            self.statistics |= {f"{layer}.mean": mean.detach(), f"{layer}.var": var.detach()}
        elif source is not None:
            ratio = var.detach() / source.squared_lengths().detach()
            self.statistics |= {
                f"{layer}.input": source.x.detach().mean(0),
                f"{layer}.ratio": ratio,
            }


class BatchStats(Norm):
    """Normalises with the statistics of the batch itself.

    `y = weight * (x - mean) / sqrt(var + eps) + bias`, mean and (biased) var over batch and space.
    """

    def __call__(
        self,
        layer: str,
        x: Tensor,
        params: Tensors,
        eps: float = EPS,
        source: LinearLayer | None = None,
    ) -> Tensor:
        weight, bias = affine(layer, params, x.shape[1], x)
        y, mean, inv_std = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        self.gather(layer, mean, (inv_std.detach() ** -2 - eps).clamp_min(0), source)
        return y


class GivenStats(Norm):
    """Normalises with statistics from elsewhere: the support set's, or running ones."""

    def __init__(self, given: Tensors) -> None:
        super().__init__()
        self._given = given

    def __call__(
        self,
        layer: str,
        x: Tensor,
        params: Tensors,
        eps: float = EPS,
        source: LinearLayer | None = None,
    ) -> Tensor:
        mean, var = self._given[f"{layer}.mean"], self._given[f"{layer}.var"]
        weight, bias = affine(layer, params, x.shape[1], x)
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)


class LeadingStats(Norm):
    """Normalises a batch with the statistics of its first `count` of `total` examples.

    With the support set before the queries, these are its statistics; they are differentiated. Of a
    layer that sees each example several times, one after the other, they are those of all of the
    first examples' rows.
    """

    def __init__(self, count: int, total: int) -> None:
        super().__init__()
        self._count, self._total = count, total

    def __call__(
        self,
        layer: str,
        x: Tensor,
        params: Tensors,
        eps: float = EPS,
        source: LinearLayer | None = None,
    ) -> Tensor:
        first = x[: len(x) * self._count // self._total]
        mean = _mean(first)
        var = _mean((first - _wide(mean, x)).square())
        return _normalised(x - _wide(mean, x), var, *affine(layer, params, x.shape[1], x), eps)


class InputStats(Norm):
    """Normalises with the mean and the deviation that a linear layer makes of running averages.

    An inner step moves a task's own weights, and with them the mean of a layer's outputs, by up to
    several deviations: an average over tasks of the outputs cannot follow. The mean of the layer's
    *inputs* hardly depends on the task, so that is what is averaged: `given` has `LAYER.input`, the
    mean input m, and `LAYER.ratio`, the output variance per squared length of the weights, v. Then

        mu = mean over positions of (w * m),   sigma^2 = v |w|^2 + eps,
        y  = weight * (w * x - mu) / sigma + bias.

    m and v are constants; the gradient passes w, in mu and sigma too. Source: the formula is that
    of per-step running statistics (Antoniou et al. 2019, section 4, BNRS); that mu and sigma are
    functions of the adapted weights is ours (docs/disagreements.md).
    """

    gathers_inputs = True

    def __init__(self, given: Tensors) -> None:
        super().__init__()
        self._given = given

    def __call__(
        self,
        layer: str,
        x: Tensor,
        params: Tensors,
        eps: float = EPS,
        source: LinearLayer | None = None,
    ) -> Tensor:
        if source is None:
            raise ValueError(f"{layer} does not follow a linear layer: it has no input statistics")
        mean = source.means(self._given[f"{layer}.input"])
        mean = mean if source.bias is None else mean + source.bias
        centred = x - _wide(mean, x)
        self.gather(layer, mean, _mean(centred.detach().square()), source)
        var = self._given[f"{layer}.ratio"] * source.squared_lengths()
        return _normalised(centred, var, *affine(layer, params, x.shape[1], x), eps)


class SourceShapes(BatchStats):
    """`BatchStats` that notes the input shape of each norm's linear layer, or None without one."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: dict[str, tuple[int, ...] | None] = {}

    def __call__(
        self,
        layer: str,
        x: Tensor,
        params: Tensors,
        eps: float = EPS,
        source: LinearLayer | None = None,
    ) -> Tensor:
        self.shapes[layer] = None if source is None else tuple(source.x.shape[1:])
        return super().__call__(layer, x, params, eps, source)


def fresh_statistics(norms: Mapping[str, int]) -> dict[str, Tensor]:
    """Running statistics before any training: `NAME.mean` zeros and `NAME.var` ones."""
    means = {f"{name}.mean": torch.zeros(size) for name, size in norms.items()}
    return means | {f"{name}.var": torch.ones(size) for name, size in norms.items()}


def conv3x3(block: str, x: Tensor, params: Tensors) -> LinearLayer:
    """The convolution of a block, 3x3 with padding 1."""
    return LinearLayer(x, params[f"{block}.conv.weight"], params[f"{block}.conv.bias"], _conv3x3)


def affine(layer: str, params: Tensors, features: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's gain and bias, `(features,)`; a missing gain is 1, a missing bias 0."""
    weight, bias = params.get(f"{layer}.weight"), params.get(f"{layer}.bias")
    return (
        like.new_ones(features) if weight is None else weight,
        like.new_zeros(features) if bias is None else bias,
    )


def _conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1)


def _mean(x: Tensor) -> Tensor:
    """Per feature, over batch and space."""
    return x.mean([0, *range(2, x.ndim)])


def _wide(values: Tensor, x: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (x.ndim - 2))


def _normalised(centred: Tensor, var: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale = weight * (var + eps).rsqrt()
    return centred * _wide(scale, centred) + _wide(bias, centred)
