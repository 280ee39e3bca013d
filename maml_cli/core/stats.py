"""Means with their intervals."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit


class Estimate(NamedTuple):
    """A mean over n independent values, known to +-ci95 with 95 % confidence."""

    mean: float
    ci95: float
    n: int


def estimate(values: ArrayLike) -> Estimate:
    """The mean of n values and the half width of its 95 % Student-t interval.

    `ci95 = t(0.975, n-1) * s / sqrt(n)` with `s` the sample standard deviation (ddof 1); n >= 2.
    It is nan where a value is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    n = array.size
    with np.errstate(invalid="ignore"):  # one episode may diverge; that is a result, no mistake
        half_width = stdtrit(n - 1, 0.975) * array.std(ddof=1) / n**0.5
    return Estimate(float(array.mean()), float(half_width), n)
