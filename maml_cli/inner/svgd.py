"""Stein variational gradient descent: particles that climb a density and repel each other.

Source: Liu & Wang 2016, algorithm 1; as an inner loop Yoon et al. 2018 (BMAML), equation 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from maml_cli.core.algorithm import Sections
from maml_cli.core.types import Tensors
from maml_cli.inner.update_rules import InnerStep

Repulsion = Literal["full", "half"]
Bandwidth = Literal["pairs", "matrix"]

WEIGHT_PRECISION = "head.log_weight_precision"
NOISE_PRECISION = "head.log_noise_precision"
"""The logarithms of precisions, one for each particle, beside its weights."""
# Shape and rate of the precisions' Gamma distributions, as in the published code.
WEIGHT_GAMMA = (2.0, 2.0)
NOISE_GAMMA = (2.0, 0.2)


def direction(
    x: Sequence[Tensor],
    slope: Sequence[Tensor],
    *,
    repulsion: Repulsion = "full",
    bandwidth: Bandwidth = "pairs",
) -> list[Tensor]:
    """`1/M sum_j [k(x_j, x_i) slope_j + d k(x_j, x_i) / d x_j]` for each particle x_i.

    The numbers of M particles are given in parts `(M, D)`, and so is `slope`, the gradient of the
    log-density at each particle. `k(x_j, x_i) = exp(-|x_i - x_j|^2 / h)` with
    `h = median |x_i - x_j|^2 / log M`, a constant. The median is over the pairs, or over the whole
    matrix with its zero diagonal. A repulsion of `half` has half of the kernel's derivative. Both
    are the published code's. One particle follows its slope.
    """
    count = len(x[0])
    if count == 1:
        return list(slope)
    # Only differences count. They keep their digits where the particles are close together.
    x = [part - part[:1].detach() for part in x]
    square = _square_distances(x)
    h = (_median(square.detach(), bandwidth) / math.log(count)).clamp_min(1e-30)
    kernel = (-square / h).exp()
    pull = {"full": 2.0, "half": 1.0}[repulsion] / h
    # sum_j k_ij (x_i - x_j) as a product of an M x M matrix with x: fewer passes over x
    away = pull * (kernel.sum(1).diag() - kernel) / count
    drawn = kernel / count
    return [drawn @ up + away @ part for part, up in zip(x, slope, strict=True)]


def _square_distances(x: Sequence[Tensor]) -> Tensor:
    """`|x_i - x_j|^2`, `(M, M)`, by products of rows: no tensor of all differences is made."""
    products = torch.stack([part @ part.T for part in x]).sum(0)
    lengths = products.diagonal()
    return (lengths.unsqueeze(1) + lengths - 2 * products).clamp_min(0)


def _median(square: Tensor, bandwidth: Bandwidth) -> Tensor:
    count = len(square)
    if bandwidth == "pairs":
        rows, columns = torch.triu_indices(count, count, 1, device=square.device)
        square = square[rows, columns]
    ordered = square.flatten().sort().values
    middle = len(ordered) - 1
    return (ordered[middle // 2] + ordered[-(-middle // 2)]) / 2


def prior_slope(weights: Tensor, precisions: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the log-prior at each particle, with respect to both.

    The weights, `(M, D)`, are N(0, 1/lambda). The first column of `precisions`, `(M, 1 or 2)`, is
    the logarithm of lambda, which is Gamma(2, 2). The second is that of the noise's precision,
    Gamma(2, 0.2). Of the logarithm of l, `log p(log l) = a log l - b l + constant`.
    """
    of_weights, *of_noise = precisions.exp().unbind(1)
    shape, rate = WEIGHT_GAMMA
    size, squares = weights.shape[1], weights.square().sum(1)
    slopes = [size / 2 + shape - of_weights * (squares / 2 + rate)]
    shape, rate = NOISE_GAMMA
    slopes += [shape - rate * precision for precision in of_noise]
    return -of_weights.unsqueeze(1) * weights, torch.stack(slopes, 1)


@dataclass(frozen=True, kw_only=True)
class SteinDescent:
    """`x_i <- x_i + rate * direction`, the density being likelihood times prior.

    The adapted parameters have the particles as their first dimension. The gradient is that of the
    negative log-likelihood, summed over examples and particles.
    """

    rate: float
    repulsion: Repulsion
    bandwidth: Bandwidth

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        return {}

    def memory(self, phi: Tensors) -> Sections:
        return {}

    def step(
        self, learned: Tensors, memory: Sections, phi: Tensors, gradient: Tensors, at: InnerStep
    ) -> tuple[dict[str, Tensor], Sections]:
        names = _weights_and_precisions(phi)
        x, down = ([_rows(tensors, part) for part in names] for tensors in (phi, gradient))
        slope = [up - part for up, part in zip(prior_slope(*x), down, strict=True)]
        moved = direction(x, slope, repulsion=self.repulsion, bandwidth=self.bandwidth)
        after: dict[str, Tensor] = {}
        for part, start, way in zip(names, x, moved, strict=True):
            rows = torch.add(start, way, alpha=self.rate)
            sizes = [phi[n][0].numel() for n in part]
            columns = rows.split_with_sizes(sizes, 1)
            after |= {n: c.reshape(phi[n].shape) for n, c in zip(part, columns, strict=True)}
        return after, {}

    def learned_rates(self, learned: Tensors) -> dict[str, list[float]]:
        return {}


def _weights_and_precisions(phi: Tensors) -> tuple[list[str], list[str]]:
    """Their names; the weights' own precision is the first."""
    precisions = [n for n in (WEIGHT_PRECISION, NOISE_PRECISION) if n in phi]
    return [n for n in phi if n not in precisions], precisions


def _rows(tensors: Tensors, names: Sequence[str]) -> Tensor:
    """One row per particle of the named tensors' numbers, `(M, D)`."""
    return torch.cat([tensors[n].reshape(len(tensors[n]), -1) for n in names], 1)
