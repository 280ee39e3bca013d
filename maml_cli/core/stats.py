"""Means with their intervals."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class Estimate(NamedTuple):
    """A mean over n independent values, known to +-ci95 with 95 % confidence."""

    mean: float
    ci95: float
    n: int


def estimate(values: ArrayLike) -> Estimate:
    """The mean of n values and the half width of its 95 % Student-t interval.

    `ci95 = t(0.975, n-1) * s / sqrt(n)` with `s` the sample standard deviation (ddof 1); n >= 2.
    """
    array = np.asarray(values, dtype=np.float64)
    n = array.size
    half_width = stats.t.ppf(0.975, n - 1) * array.std(ddof=1) / n**0.5
    return Estimate(float(array.mean()), float(half_width), n)
