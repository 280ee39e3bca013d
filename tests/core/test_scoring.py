"""Scores of probabilities against values from paper and pencil, and against other routes."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from maml_cli.core.objective import CLASSIFICATION, REGRESSION
from maml_cli.core.scoring import (
    CLASS_SCORING,
    CURVE_SCORING,
    EpisodeScores,
    _ece_by_chance,
    mixture_quantile,
)

TWO_MEMBERS = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
"""Two samples of one query of one episode."""


def logits(*probabilities: float) -> torch.Tensor:
    """One episode of two classes, where the first class has these probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([p, 1 - p], -1).log().unsqueeze(0)


def test_the_likelihood_of_samples_is_that_of_their_mixture():
    """N(0, 1/4) and N(1, 1/4) at 0: not the moments' 0.822365, nor the mean of both, 1.225791."""
    found = CURVE_SCORING.nll(TWO_MEMBERS, torch.zeros(1, 1, 1), 0.25)
    assert found.item() == pytest.approx(0.792011, abs=1e-6)


def test_samples_of_classes_are_averaged_as_probabilities():
    """Logits of +4 and -2 for two classes: not their mean logit, which gives 0.731059."""
    samples = torch.tensor([[4.0, 0.0], [-2.0, 0.0]]).view(1, 2, 1, 2)
    mean = CLASSIFICATION.combine(samples).softmax(-1)
    assert mean[0, 0, 0].item() == pytest.approx(0.550608, abs=1e-6)
    networks = torch.stack([CLASS_SCORING.predictive(s.view(1, 1, 1, 2)) for s in samples[0]])
    ensemble = networks.mean(0).softmax(-1)
    assert ensemble[0, 0, 0].item() == pytest.approx(0.731059, abs=1e-6)


def test_the_calibration_error_by_hand():
    """In both episodes 0.9, 0.9, 0.6 and 0.6, of which the last is wrong: two gaps of 0.1."""
    twice = logits(0.9, 0.9, 0.6, 0.6).repeat(2, 1, 1)
    targets = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 1]])
    reading = CLASS_SCORING.reading(CLASS_SCORING.scores(twice, targets, 1.0))
    assert reading.scores["ece"].mean == pytest.approx(0.1)
    assert reading.reliability.largest_gap == pytest.approx(0.1)
    assert reading.reliability.promised == pytest.approx((0.6, 0.9))
    assert reading.reliability.observed == pytest.approx((0.5, 1.0))
    assert reading.reliability.counts == (4, 4)


def test_likelihood_and_brier_score_of_classes_by_hand():
    scores = CLASS_SCORING.scores(logits(0.9, 0.6), torch.tensor([[0, 1]]), 1.0)
    assert scores.values["nll"].item() == pytest.approx(-(math.log(0.9) + math.log(0.4)) / 2)
    assert scores.values["brier"].item() == pytest.approx((2 * 0.1**2 + 2 * 0.6**2) / 2)


def test_every_query_is_in_one_bin_of_its_episode():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(7, 11, 5, generator=generator)
    targets = torch.randint(5, (7, 11), generator=generator)
    bins = CLASS_SCORING.scores(outputs, targets, 1.0).bins
    assert bins["count"].sum(1).tolist() == [11] * 7
    assert bins["hits"].sum(1).tolist() == (outputs.argmax(-1) == targets).sum(1).tolist()
    mean = bins["confidence"] / bins["count"]
    edges = torch.arange(16) / 15
    full = bins["count"] > 0
    assert ((mean > edges[:-1]) & (mean <= edges[1:] + 1e-9))[full].all()


def test_the_error_by_chance_is_what_calibrated_models_show():
    """Against a simulation of models whose hits come true as often as they promise."""
    count, p = np.array([40.0, 25.0, 3.0]), np.array([0.3, 0.8, 0.97])
    hits = np.random.default_rng(1).binomial(count.astype(int), p, size=(200_000, 3))
    simulated = (np.abs(hits - count * p).sum(1) / count.sum()).mean()
    assert _ece_by_chance(count, count * p) == pytest.approx(simulated, rel=0.01)
    assert _ece_by_chance(np.array([5.0]), np.array([5.0])) == 0.0


def test_the_interval_of_the_calibration_error_is_over_episodes():
    """Each of 400 episodes has one prediction of confidence 0.8, and 70 % of them are right."""
    ones, hits = torch.ones(400, 1).double(), (torch.arange(400) % 10 < 7).double().unsqueeze(1)
    bins = {"count": ones, "confidence": 0.8 * ones, "hits": hits}
    ece = CLASS_SCORING.reading(EpisodeScores({}, bins)).scores["ece"]
    assert ece.mean == pytest.approx(0.1)
    assert ece.ci95 == pytest.approx(1.96 * math.sqrt(0.7 * 0.3 / 400), rel=0.1)


def test_the_temperature_undoes_a_scale():
    generator = torch.Generator().manual_seed(3)
    calibrated = 2 * torch.randn(300, 40, 3, generator=generator)
    targets = torch.distributions.Categorical(logits=calibrated).sample()
    own = CLASS_SCORING.fit(calibrated, targets)
    assert own == pytest.approx(1.0, abs=0.05)
    for scale in (3, 2000, 0.0005):
        found = CLASS_SCORING.fit(scale * calibrated, targets)
        assert found == pytest.approx(scale * own, rel=1e-4)


def test_without_samples_the_variance_is_the_mean_squared_error():
    generator = torch.Generator().manual_seed(4)
    outputs = torch.randn(50, 1, 10, 1, generator=generator)
    targets = torch.randn(50, 10, 1, generator=generator)
    error = (outputs[:, 0] - targets).square().mean().item()
    assert CURVE_SCORING.fit(outputs, targets) == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("scoring", [CLASS_SCORING, CURVE_SCORING])
def test_outputs_that_are_not_finite_fit_nothing(scoring):
    outputs = torch.full((2, 1, 3, 2), math.nan)
    targets = torch.zeros(2, 3, dtype=torch.int64)
    if scoring is CURVE_SCORING:
        outputs, targets = outputs[..., :1], targets.float().unsqueeze(-1)
    predictive = scoring.predictive(outputs)
    assert math.isnan(scoring.fit(predictive, targets))
    reading = scoring.reading(scoring.scores(predictive, targets, math.nan))
    assert math.isnan(reading.scores["nll"].mean)


def test_bands_of_one_sample_are_those_of_a_normal_distribution():
    generator = torch.Generator().manual_seed(5)
    outputs = torch.zeros(200, 1, 50, 1)
    targets = 2 * torch.randn(200, 50, 1, generator=generator)
    reading = CURVE_SCORING.reading(CURVE_SCORING.scores(outputs, targets, 4.0))
    for percent in (50, 90):
        z = stats.norm.ppf(0.5 + percent / 200)
        inside = (targets.abs() <= 2 * z).double().mean().item()
        assert reading.scores[f"coverage_{percent}"].mean == pytest.approx(inside)
        assert inside == pytest.approx(percent / 100, abs=0.02)
    assert reading.scores["width_90"].mean == pytest.approx(4 * 1.6448536, rel=1e-5)
    assert reading.reliability.observed[-1] == 1.0


def test_quantiles_of_a_mixture_have_their_probability():
    samples = torch.tensor([0.0, 5.0, 6.0], dtype=torch.float64).view(1, 3, 1, 1)
    for level in (0.05, 0.25, 0.5, 0.95):
        x = mixture_quantile(samples, 0.3, level).item()
        below = stats.norm.cdf(x, [0, 5, 6], math.sqrt(0.3)).mean()
        assert below == pytest.approx(level, abs=1e-9)


def test_objectives_know_their_scores():
    assert CLASSIFICATION.scoring is CLASS_SCORING
    assert REGRESSION.scoring is CURVE_SCORING
