"""Sine waves: fitted back from their points by least squares, without the code that drew them."""

import math
from dataclasses import replace

import numpy as np
import torch
from problems import shipped
from scipy import stats

from maml_cli.data.sampler import episode_keys

CPU = torch.device("cpu")


PAPER = shipped("dataset", "sinusoid")
"""The waves of Finn et al. 2017, section 5.1."""


def waves(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Per task (a, b) of the best `y = a sin x + b cos x`; the error must be rounding only."""
    x, y = x.double(), y.double()
    design = torch.cat([x.sin(), x.cos()], dim=-1)
    solution = torch.linalg.lstsq(design, y).solution
    assert (design @ solution - y).abs().max() < 1e-4
    return solution.squeeze(-1).numpy()


def test_support_and_query_lie_on_one_wave_of_the_paper_s_distribution(run_settings):
    count = 4000
    source = PAPER.load(run_settings(ways=1, shots=10, queries=15), CPU)
    assert (source.input_shape, source.output_size) == ((1,), 1)
    episode = source.episodes("train", 0, count)
    assert episode.support_x.shape == episode.support_y.shape == (count, 10, 1)
    assert episode.query_x.shape == episode.query_y.shape == (count, 15, 1)
    assert {field.dtype for field in episode[:4]} == {torch.float32}
    assert episode.classes.tolist() == [[0]] * count
    assert source.train_classes == 1
    a, b = waves(episode.support_x, episode.support_y).T
    others = waves(episode.query_x, episode.query_y).T
    assert np.abs(others - [a, b]).max() < 1e-2  # points may crowd, so coefficients round more
    # A sin(x - phase) = A cos(phase) sin x - A sin(phase) cos x
    amplitude, phase = np.hypot(a, b), np.arctan2(-b, a)
    assert stats.kstest(amplitude, "uniform", args=(0.1, 4.9)).pvalue > 1e-3
    assert stats.kstest(phase, "uniform", args=(0, math.pi)).pvalue > 1e-3
    assert abs(stats.spearmanr(amplitude, phase).statistic) < 5 / count**0.5
    for x in (episode.support_x, episode.query_x):
        assert stats.kstest(x.flatten().numpy(), "uniform", args=(-5, 10)).pvalue > 1e-3


def test_phases_all_around_as_in_reptile_s_waves(run_settings):
    source = replace(PAPER, max_phase=2 * math.pi).load(
        run_settings(ways=1, shots=10, queries=1), CPU
    )
    episode = source.episodes("train", 0, 4000)
    a, b = waves(episode.support_x, episode.support_y).T
    phase = np.arctan2(-b, a) % (2 * math.pi)
    assert stats.kstest(phase, "uniform", args=(0, 2 * math.pi)).pvalue > 1e-3


def test_an_episode_does_not_depend_on_its_batch(run_settings):
    source = PAPER.load(run_settings(ways=1, shots=5, queries=5), CPU)
    eight, one = source.episodes("val", 0, 8), source.episodes("val", 3, 1)
    assert all(torch.equal(many[3], single[0]) for many, single in zip(eight, one, strict=True))


def test_every_wave_has_a_key_of_its_own(run_settings):
    source = PAPER.load(run_settings(ways=1, seed=5), CPU)
    for split in ("train", "val", "test"):
        key = source.episodes(split, 3, 2).key
        assert key.dtype == torch.int64
        assert key.tolist() == episode_keys(5, split, 3, 2).tolist()


def test_seeds_and_splits_have_waves_of_their_own(run_settings):
    def first(seed: int, split: str) -> float:
        source = PAPER.load(run_settings(ways=1, seed=seed), CPU)
        return source.episodes(split, 0, 1).support_y.item()

    assert len({first(s, split) for s in (0, 1) for split in ("train", "val", "test")}) == 6


def test_curves_continue_the_test_episodes_on_a_regular_grid(run_settings):
    source = PAPER.load(run_settings(ways=1, shots=5, queries=5), CPU)
    curves, episodes = source.curve_episodes(3), source.episodes("test", 0, 3)
    assert torch.equal(curves.support_x, episodes.support_x)
    assert torch.equal(curves.support_y, episodes.support_y)
    assert torch.equal(curves.key, episodes.key)
    grid = curves.query_x[0].flatten()
    assert (grid[0], grid[-1]) == (-5, 5)
    assert torch.allclose(grid.diff(), torch.tensor(10 / (len(grid) - 1)), atol=1e-6)
    assert torch.equal(curves.query_x[0], curves.query_x[2])
    fitted = waves(curves.query_x, curves.query_y)
    assert np.allclose(fitted, waves(episodes.query_x, episodes.query_y), atol=1e-2)


def test_classes_are_refused(run_settings):
    assert PAPER.check(run_settings(ways=1, shots=500, queries=500)) == []
    assert PAPER.check(run_settings(ways=5)) == [
        "ways=5 asks for classes, but sinusoid is regression: set ways=1."
    ]
    assert PAPER.check(run_settings(ways=1, train_ways=1)) == []
    assert PAPER.check(run_settings(ways=1, train_ways=5)) == [
        "train_ways=5 asks for classes, but sinusoid is regression: set train_ways=null."
    ]


def test_training_may_have_shots_of_its_own(run_settings):
    """And validation and test then meet the waves that they meet without."""
    own, plain = (PAPER.load(run_settings(ways=1, shots=5, train_shots=n), CPU) for n in (50, 5))
    assert own.episodes("train", 0, 2).support_x.shape == (2, 50, 1)
    assert own.episodes("val", 0, 2).support_x.shape == (2, 5, 1)
    assert torch.equal(own.episodes("test", 3, 2).query_y, plain.episodes("test", 3, 2).query_y)


def test_frequencies_phases_and_amplitudes_are_what_reveal_tells(run_settings):
    """Yoon et al. 2018: frequencies in [0.5, 2], phases all around."""
    family = replace(
        PAPER, max_phase=2 * math.pi, min_frequency=0.5, max_frequency=2.0, reveal=True
    )
    source = family.load(run_settings(ways=1, shots=3, queries=2), CPU)
    assert source.input_shape == (4,)
    assert source.curve_episodes(1) is None
    x, amplitude, phase, frequency = source.episodes("train", 0, 4000).query_x.double().unbind(-1)
    y = source.episodes("train", 0, 4000).query_y.squeeze(-1)
    assert torch.allclose((amplitude * (frequency * x - phase).sin()).float(), y, atol=1e-4)
    for told, low, high in ((amplitude, 0.1, 5), (phase, 0, 2 * math.pi), (frequency, 0.5, 2)):
        assert stats.kstest(told[:, 0].numpy(), "uniform", args=(low, high - low)).pvalue > 1e-3
    plain = replace(family, reveal=False).load(run_settings(ways=1, shots=3, queries=2), CPU)
    assert torch.equal(plain.episodes("train", 0, 9).query_x[..., 0], x[:9].float())


def test_frequencies_in_the_wrong_order_are_refused(run_settings):
    wrong = replace(PAPER, min_frequency=2.0)
    assert wrong.check(run_settings(ways=1)) == [
        "dataset.min_frequency=2.0 is above dataset.max_frequency=1.0: lower it, or raise "
        "dataset.max_frequency"
    ]


def test_relative_noise_grows_with_the_amplitude(run_settings):
    """The residuals of one wave have the deviation 0.1 A, here for 4,000 waves at once."""
    run = run_settings(ways=1, shots=10, queries=1)
    noisy, exact = (
        replace(PAPER, noise=n, relative_noise=True).load(run, CPU).episodes("test", 0, 4000)
        for n in (0.1, 0.0)
    )
    a, b = waves(exact.support_x, exact.support_y).T
    residuals = (noisy.support_y - exact.support_y).squeeze(-1).numpy()
    standard = residuals / (0.1 * np.hypot(a, b))[:, None]
    assert stats.kstest(standard.flatten(), "norm").pvalue > 1e-3
