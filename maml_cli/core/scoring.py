"""How good predictions are as probabilities, for any learner.

Outputs become probabilities by one number that is fitted on validation episodes: a temperature for
classes, the variance of the noise for curves. Every episode has its scores and its bins, so that
intervals and reports need no second test.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaln, xlog1py, xlogy
from torch import Tensor

from maml_cli.core.calibration import Reading, Reliability
from maml_cli.core.stats import Estimate, estimate

CONFIDENCE_BINS = 15
LEVELS = 20
"""Central bands of curves: 5 %, 10 % and so on to 100 %."""
RESAMPLES = 1000
TEMPERATURES = (1e-6, 1e6)
"""Early in training, cosines that hardly differ need less than 0.001, squared distances 80."""
QUANTILE_STEPS = 60


class EpisodeScores(NamedTuple):
    """The scores of every episode."""

    values: Mapping[str, Tensor]
    """By name, `(episodes,)`: means over an episode's queries."""
    bins: Mapping[str, Tensor]
    """By name, `(episodes, bins)`: sums over an episode's queries."""


class Scoring(ABC):
    """Reads outputs as probabilities and scores them.

    A `predictive` is what the outputs say of the queries, `(episodes, ..., queries, outputs)`; that
    of several networks is the mean of theirs.
    """

    parameter: str
    """What is fitted."""
    unfitted: float | None
    """Its value where nothing was fitted; None: there are no probabilities without it."""

    @abstractmethod
    def predictive(self, outputs: Tensor) -> Tensor:
        """From samples, `(episodes, samples, queries, outputs)`."""

    @abstractmethod
    def nll(self, predictive: Tensor, targets: Tensor, value: float) -> Tensor:
        """The negative log-likelihood of each query, `(episodes, queries)`."""

    @abstractmethod
    def limits(self, predictive: Tensor, targets: Tensor) -> tuple[float, float]:
        """Between which the parameter is looked for."""

    @abstractmethod
    def scores(self, predictive: Tensor, targets: Tensor, value: float) -> EpisodeScores:
        """All scores of each episode at this value of the parameter."""

    @abstractmethod
    def reading(self, scores: EpisodeScores) -> Reading:
        """The scores of all episodes together."""

    def fit(self, predictive: Tensor, targets: Tensor) -> float:
        """The value of least negative log-likelihood; nan if outputs are not finite."""
        from scipy.optimize import minimize_scalar

        low, high = self.limits(predictive, targets)
        if not (predictive.isfinite().all() and math.isfinite(high)):
            return math.nan

        def loss(logarithm: float) -> float:
            return float(self.nll(predictive, targets, math.exp(logarithm)).mean())

        bounds = (math.log(low), math.log(high))
        found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
        return math.exp(float(found.x))


class ClassScoring(Scoring):
    """Classes: `softmax(z / T)`, where z are the outputs and T is the temperature.

    nll is `-log p(y)`; brier is `sum_c (p_c - [c = y])^2`, from 0 to 2; the bins are of confidence,
    the largest probability of a query. Source of T and of the expected calibration error: Guo et
    al. 2017, "On calibration of modern neural networks".
    """

    parameter = "temperature"
    unfitted = 1.0

    def predictive(self, outputs: Tensor) -> Tensor:
        """The logarithm of the samples' mean probability."""
        return mean_probability(outputs)

    def nll(self, predictive: Tensor, targets: Tensor, value: float) -> Tensor:
        log_p = (predictive.double() / value).log_softmax(-1)
        return -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    def limits(self, predictive: Tensor, targets: Tensor) -> tuple[float, float]:
        return TEMPERATURES

    def scores(self, predictive: Tensor, targets: Tensor, value: float) -> EpisodeScores:
        p = (predictive.double() / value).softmax(-1)
        truth = torch.nn.functional.one_hot(targets, p.shape[-1])
        confidence, predicted = p.nan_to_num(0.0).max(-1)
        hits = (predicted == targets) & p.isfinite().all(-1)
        place = ((confidence * CONFIDENCE_BINS).ceil() - 1).clamp(0, CONFIDENCE_BINS - 1).long()
        values = {
            "nll": self.nll(predictive, targets, value).mean(-1),
            "brier": (p - truth).square().sum(-1).mean(-1),
        }
        summed = {"count": torch.ones_like(confidence), "confidence": confidence, "hits": hits}
        return EpisodeScores(
            values, {n: _binned(place, v, CONFIDENCE_BINS) for n, v in summed.items()}
        )

    def reading(self, scores: EpisodeScores) -> Reading:
        count, confidence, hits = (scores.bins[n].numpy() for n in ("count", "confidence", "hits"))
        totals, promised, right = (a.sum(0) for a in (count, confidence, hits))
        full = totals > 0
        ece = Estimate(
            float(np.abs(promised - right).sum() / totals.sum()),
            _resampled(count, confidence - hits),
            len(count),
        )
        return Reading(
            scores={**{n: estimate(v) for n, v in scores.values.items()}, "ece": ece},
            by_chance={"ece": _ece_by_chance(totals[full], promised[full])},
            reliability=Reliability(
                promised=tuple((promised[full] / totals[full]).tolist()),
                observed=tuple((right[full] / totals[full]).tolist()),
                counts=tuple(totals[full].astype(int).tolist()),
            ),
        )


class CurveScoring(Scoring):
    """Curves: a mixture of normal distributions around the samples, all of the noise's variance.

    nll is `-log (1/S sum_s N(y; f_s, v))`; coverage_50 and coverage_90 are the shares of points in
    the central bands of 50 and 90 %, and width_90 is the width of the latter. The bins are of the
    narrowest central band, in steps of 5 %, that holds a point.
    """

    parameter = "noise variance"
    unfitted = None

    def predictive(self, outputs: Tensor) -> Tensor:
        """The samples themselves."""
        return outputs

    def nll(self, predictive: Tensor, targets: Tensor, value: float) -> Tensor:
        error = predictive.double() - targets.double().unsqueeze(1)
        log_p = (-0.5 * (error.square() / value + math.log(2 * math.pi * value))).sum(-1)
        return math.log(predictive.shape[1]) - log_p.logsumexp(1)

    def limits(self, predictive: Tensor, targets: Tensor) -> tuple[float, float]:
        """Around the mean squared error, which is the value sought where there is one sample."""
        error = float((predictive.double() - targets.double().unsqueeze(1)).square().mean())
        return max(1e-6 * error, 1e-300), max(4 * error, 1e-299)

    def scores(self, predictive: Tensor, targets: Tensor, value: float) -> EpisodeScores:
        samples, y = predictive.double(), targets.double()
        below = _normal_cdf((y.unsqueeze(1) - samples) / math.sqrt(value)).mean(1)
        level = (2 * below - 1).abs().nan_to_num(1.0).flatten(1)
        place = ((level * LEVELS).ceil() - 1).clamp(0, LEVELS - 1).long()
        count = _binned(place, torch.ones_like(level), LEVELS)
        low, high = (mixture_quantile(samples, value, p) for p in (0.05, 0.95))
        values = {
            "nll": self.nll(predictive, targets, value).mean(-1),
            **{
                f"coverage_{percent}": count[:, : percent * LEVELS // 100].sum(1) / level.shape[1]
                for percent in (50, 90)
            },
            "width_90": (high - low).flatten(1).mean(1).float(),  # one sample: equal for all
        }
        return EpisodeScores(values, {"count": count})

    def reading(self, scores: EpisodeScores) -> Reading:
        count = scores.bins["count"].sum(0).numpy()
        return Reading(
            scores={n: estimate(v) for n, v in scores.values.items()},
            by_chance={},
            reliability=Reliability(
                promised=tuple((np.arange(1, LEVELS + 1) / LEVELS).tolist()),
                observed=tuple((count.cumsum() / count.sum()).tolist()),
                counts=tuple(count.cumsum().astype(int).tolist()),
            ),
        )


def mean_probability(outputs: Tensor) -> Tensor:
    """The logarithm of the samples' mean probability: `(..., samples, queries, classes)`."""
    if outputs.shape[-3] == 1:
        return outputs.squeeze(-3)
    samples = outputs.shape[-3]
    return outputs.log_softmax(-1).logsumexp(-3) - math.log(samples)


def mixture_quantile(samples: Tensor, variance: float, level: float) -> Tensor:
    """The value below which a mixture has the probability `level`, by bisection.

    `samples` are the means of its normal distributions, `(episodes, samples, ...)`, all of this
    variance; the result has no dimension of samples.
    """
    deviation = math.sqrt(variance)
    reach = 10 * deviation  # a normal distribution has 1e-23 beyond it
    low, high = samples.amin(1) - reach, samples.amax(1) + reach
    for _ in range(QUANTILE_STEPS):
        middle = (low + high) / 2
        under = _normal_cdf((middle.unsqueeze(1) - samples) / deviation).mean(1) < level
        low, high = torch.where(under, middle, low), torch.where(under, high, middle)
    return (low + high) / 2


def _normal_cdf(z: Tensor) -> Tensor:
    found: Tensor = torch.special.ndtr(z)
    return found


def _binned(place: Tensor, values: Tensor, bins: int) -> Tensor:
    """Sums of `(episodes, queries)` values over the queries of each bin, `(episodes, bins)`."""
    zeros = torch.zeros(len(place), bins, dtype=torch.float64)
    return zeros.scatter_add(1, place, values.double())


def _resampled(count: NDArray[np.float64], gap: NDArray[np.float64]) -> float:
    """Half the width of the calibration error's 95 % interval, by resampling episodes.

    It is 1.96 standard deviations of the error over resampled tests; `count` and `gap`, confidence
    minus hits, are `(episodes, bins)`.
    """
    random, found = np.random.default_rng(0), []
    episodes = len(count)
    for _ in range(RESAMPLES):
        drawn = random.multinomial(episodes, np.full(episodes, 1 / episodes))
        found.append(np.abs(drawn @ gap).sum() / (drawn @ count).sum())
    return float(1.96 * np.std(found, ddof=1))


def _ece_by_chance(count: NDArray[np.float64], confidence: NDArray[np.float64]) -> float:
    """The mean calibration error of a model whose hits are as frequent as its confidence says.

    In a bin of n predictions of mean confidence p the hits are binomial, with the mean absolute
    deviation `2 m (1 - p) P(hits = m)`, m being `floor(n p) + 1` (de Moivre 1730).
    """
    p = np.clip(confidence / count, 0.0, 1.0)
    m = np.minimum(np.floor(count * p) + 1, count)
    ways = gammaln(count + 1) - gammaln(m + 1) - gammaln(count - m + 1)
    exactly_m = np.exp(ways + xlogy(m, p) + xlog1py(count - m, -p))
    deviation = 2 * m * (1 - p) * exactly_m
    return float(deviation.sum() / count.sum())


CLASS_SCORING = ClassScoring()
CURVE_SCORING = CurveScoring()
