"""Curves: polynomials, waves or lines, their noise, and support points on one side."""

import math

import numpy as np
import pytest
import torch
from problems import shipped
from scipy import stats

CPU = torch.device("cpu")


@pytest.fixture
def load(run_settings):
    """The tasks of a data set's YAML with changes, of 8 support points and 4 queries."""

    def loaded(name, points=(8, 4), **changes):
        run = run_settings(ways=1, shots=points[0], queries=points[1])
        return shipped("dataset", name, **changes).load(run, CPU)

    return loaded


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_polynomials_have_the_degree_and_the_coefficients_of_mt_net(load, degree):
    episode = load("polynomial", degree=degree).episodes("train", 0, 3000)
    x, y = (f.squeeze(-1).double().numpy() for f in (episode.support_x, episode.support_y))
    assert stats.kstest(x.flatten(), "uniform", args=(-2, 4)).pvalue > 1e-3
    fitted = np.stack([np.polyfit(*task, degree)[::-1] for task in zip(x, y, strict=True)])
    for power, coefficients in enumerate(fitted.T):
        limit = 2.0**-power
        assert stats.kstest(coefficients, "uniform", args=(-limit, 2 * limit)).pvalue > 1e-3
    at = episode.query_x.squeeze(-1).double().numpy()
    expected = sum(c[:, None] * at**power for power, c in enumerate(fitted.T))
    assert np.allclose(expected, episode.query_y.squeeze(-1), atol=1e-2)


def test_half_of_the_ambiguous_curves_are_lines(load):
    """Lines have no second difference on a grid; waves have `y'' = -y`, so that it is not 0."""
    count = 2000
    curves = load("sinusoid_or_line").curve_episodes(count)
    y, step = curves.query_y.squeeze(-1).double(), 10 / 200
    is_line = (y.diff(n=2, dim=1) / step**2).abs().amax(1) < 0.02
    assert abs(is_line.double().mean() - 0.5) < 4 * 0.5 / count**0.5
    lines, waves = y[is_line], y[~is_line]
    for found in ((lines[:, -1] - lines[:, 0]) / 10, lines[:, 100]):  # slope, value at 0
        assert stats.kstest(found.numpy(), "uniform", args=(-3, 6)).pvalue > 1e-3
    highest = waves.abs().amax(1)  # ten units hold more than a period
    assert stats.kstest(highest.numpy(), "uniform", args=(0.1, 4.9)).pvalue > 1e-3
    at_zero = (-waves[:, 100] / highest).numpy()  # sin(phase) >= 0 for phases up to pi
    assert at_zero.min() > -1e-2
    assert abs(at_zero.mean() - 2 / math.pi) < 0.03


def test_noise_has_its_deviation_and_does_not_change_the_tasks(load):
    noisy, exact = (load("polynomial", noise=n).episodes("train", 0, 2000) for n in (0.5, 0.0))
    for name in ("support", "query"):
        assert torch.equal(getattr(noisy, f"{name}_x"), getattr(exact, f"{name}_x"))
        residuals = getattr(noisy, f"{name}_y") - getattr(exact, f"{name}_y")
        assert stats.kstest(residuals.flatten().numpy(), "norm", args=(0, 0.5)).pvalue > 1e-3


def test_the_noise_of_an_episode_is_its_own(load):
    source = load("sinusoid_or_line")
    eight, one = source.episodes("val", 0, 8), source.episodes("val", 3, 1)
    assert all(torch.equal(many[3], single[0]) for many, single in zip(eight, one, strict=True))
    more = load("sinusoid_or_line", points=(8, 5)).episodes("val", 0, 8)
    plain = load("sinusoid_or_line", points=(8, 5), noise=0.0).episodes("val", 0, 8)
    support_noise = more.support_y - plain.support_y
    query_noise = more.query_y - plain.query_y
    assert (support_noise[:, :5] - query_noise).abs().min() > 1e-4  # from streams of their own


@pytest.mark.parametrize(("noisy_queries", "splits"), [(True, 3), (False, 1)])
def test_queries_of_validation_and_test_may_be_without_noise(load, noisy_queries, splits):
    noisy = load("polynomial", noise=0.5, noisy_queries=noisy_queries)
    exact = load("polynomial")
    differing = [
        split
        for split in ("train", "val", "test")
        if not torch.equal(noisy.episodes(split, 0, 9).query_y, exact.episodes(split, 0, 9).query_y)
    ]
    assert len(differing) == splits
    assert differing[0] == "train"
    curves = noisy.curve_episodes(2)
    assert torch.equal(curves.query_y, exact.curve_episodes(2).query_y)
    assert torch.equal(curves.support_y, noisy.episodes("test", 0, 2).support_y)


@pytest.mark.parametrize(("side", "low", "high"), [("left", -5, 0), ("right", 0, 5)])
def test_support_points_may_lie_on_one_side(load, side, low, high):
    one = load("sinusoid", support_side=side).episodes("test", 0, 500)
    both = load("sinusoid").episodes("test", 0, 500)
    assert stats.kstest(one.support_x.flatten().numpy(), "uniform", args=(low, 5)).pvalue > 1e-3
    assert one.support_x.max() <= high
    assert torch.equal(one.query_x, both.query_x)
    assert torch.equal(one.query_y, both.query_y)
