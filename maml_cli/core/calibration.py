"""What a test says of predictions as probabilities, as a part of the results."""

from collections.abc import Mapping
from dataclasses import dataclass

from maml_cli.core.stats import Estimate


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Promised and observed frequencies over all queries of a test.

    Of classes: mean confidence and accuracy in each bin of confidence that is not empty. Of curves:
    the nominal share of a central band, and the share of points in it.
    """

    promised: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]
    """Queries in the bin, or points in the band."""

    @property
    def largest_gap(self) -> float:
        """The largest difference of promised and observed (maximum calibration error)."""
        return max(abs(p - o) for p, o in zip(self.promised, self.observed, strict=True))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The outputs read as probabilities in one way, and scored; see `core/scoring.py`."""

    scores: Mapping[str, Estimate]
    """`nll`, `brier` and `ece`, or `nll`, `coverage_50`, `coverage_90` and `width_90`."""
    by_chance: Mapping[str, float]
    """What a perfectly calibrated model would show on so few queries, by the score's name."""
    reliability: Reliability


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Scores of the ensemble's probabilities on the episodes of the test."""

    samples: int
    """Predictions of each network that are averaged; 1 without randomness."""
    parameter: str
    """What is fitted on validation episodes: `temperature` or `noise variance`."""
    value: float
    """nan: it could not be fitted, since outputs are not finite."""
    fitted_on: int
    """How many validation episodes."""
    raw: Reading | None
    """Without the fitted parameter; None: there are no probabilities without it."""
    fitted: Reading
