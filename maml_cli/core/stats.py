"""Means with their intervals."""

from typing import NamedTuple

from scipy import stats
from torch import Tensor


class Estimate(NamedTuple):
    """A mean over n independent values, known to +-ci95 with 95 % confidence."""

    mean: float
    ci95: float
    n: int


def estimate(values: Tensor) -> Estimate:
    """The mean of n values and the half width of its 95 % Student-t interval.

    `ci95 = t(0.975, n-1) * s / sqrt(n)` with `s` the sample standard deviation (ddof 1); n >= 2.
    """
    values = values.double()
    n = values.numel()
    half_width = stats.t.ppf(0.975, n - 1) * values.std().item() / n**0.5
    return Estimate(values.mean().item(), float(half_width), n)
