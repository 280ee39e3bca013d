"""Stein variational gradient descent: particles that climb a density and repel each other.

Source: Liu & Wang 2016, algorithm 1; as an inner loop Yoon et al. 2018 (BMAML), equation 2.
"""

import math
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
    x: Tensor, slope: Tensor, *, repulsion: Repulsion = "full", bandwidth: Bandwidth = "pairs"
) -> Tensor:
    """`1/M sum_j [k(x_j, x_i) slope_j + d k(x_j, x_i) / d x_j]` for each particle x_i, `(M, D)`.

    `slope` is the gradient of the log-density at each particle, and
    `k(x_j, x_i) = exp(-|x_i - x_j|^2 / h)` with `h = median |x_i - x_j|^2 / log M`, a constant. The
    median is over the pairs, or over the whole matrix with its zero diagonal. A repulsion of `half`
    has half of the kernel's derivative. Both are the published code's. One particle follows its
    slope.
    """
    count = len(x)
    if count == 1:
        return slope
    x = x - x.mean(0)  # differences keep their digits where the particles are close together
    square = _square_distances(x)
    h = (_median(square.detach(), bandwidth) / math.log(count)).clamp_min(1e-30)
    kernel = (-square / h).exp()
    pull = {"full": 2.0, "half": 1.0}[repulsion] / h
    # sum_j k_ij (x_i - x_j) as a product of an M x M matrix with x: fewer passes over x
    away = pull * (kernel.sum(1).diag() - kernel)
    return kernel / count @ slope + away / count @ x


def _square_distances(x: Tensor) -> Tensor:
    """`|x_i - x_j|^2`, `(M, M)`, by products of rows: no tensor of all differences is made."""
    products = x @ x.T
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


def prior_slope(phi: Tensors) -> dict[str, Tensor]:
    """The gradient of the log-prior at each particle.

    Weights are N(0, 1/lambda), lambda is Gamma(2, 2) and the noise's precision Gamma(2, 0.2), each
    with its own logarithm as the variable: `log p(log l) = a log l - b l + constant`.
    """
    weights = {n: p for n, p in phi.items() if n not in (WEIGHT_PRECISION, NOISE_PRECISION)}
    precision = phi[WEIGHT_PRECISION].exp()
    slope = {n: -precision.view(-1, *[1] * (w.dim() - 1)) * w for n, w in weights.items()}
    squares = torch.stack([_rows(w).square().sum(1) for w in weights.values()]).sum(0)
    size = sum(w[0].numel() for w in weights.values())
    shape, rate = WEIGHT_GAMMA
    slope[WEIGHT_PRECISION] = size / 2 + shape - precision * (squares / 2 + rate)
    if NOISE_PRECISION in phi:
        shape, rate = NOISE_GAMMA
        slope[NOISE_PRECISION] = shape - rate * phi[NOISE_PRECISION].exp()
    return slope


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
        prior = prior_slope(phi)
        x = torch.cat([_rows(p) for p in phi.values()], 1)
        slope = torch.cat([_rows(prior[n] - gradient[n]) for n in phi], 1)
        moved = direction(x, slope, repulsion=self.repulsion, bandwidth=self.bandwidth)
        sizes = [p[0].numel() for p in phi.values()]
        parts = (x + self.rate * moved).split_with_sizes(sizes, 1)
        return {n: new.reshape(p.shape) for (n, p), new in zip(phi.items(), parts, strict=True)}, {}

    def learned_rates(self, learned: Tensors) -> dict[str, list[float]]:
        return {}


def _rows(tensor: Tensor) -> Tensor:
    """One row per particle."""
    return tensor.reshape(len(tensor), -1)
