"""Quadratic problems: what problem i is, and how gradient descent goes on it."""

from dataclasses import replace

import pytest
import torch
from problems import CPU, RUN, shipped

from maml_cli.config import check
from maml_cli.core.norms import BatchStats

OWN = replace(RUN, ways=1)


def source(seed=0, **changes):
    return shipped("dataset", "quadratics", **changes).load(replace(OWN, seed=seed), CPU)


def test_problem_i_is_a_pure_function_of_seed_split_and_i():
    whole, parts = source().episodes("test", 0, 5), source()
    later = parts.episodes("test", 3, 2)
    for all_five, last_two in zip(whole, later, strict=True):
        assert torch.equal(all_five[3:], last_two)
    others = [source(seed=1).episodes("test", 0, 5), source().episodes("val", 0, 5)]
    for other in others:
        assert not torch.isclose(other.support_x, whole.support_x).any()


@pytest.mark.parametrize(
    ("entries", "mean", "variance"), [("uniform", 0.5, 1 / 12), ("normal", 0.0, 1.0)]
)
def test_entries_are_distributed_as_they_say(entries, mean, variance):
    w = source(entries=entries).episodes("train", 0, 500).support_x
    assert w.mean().item() == pytest.approx(mean, abs=0.02)
    assert w.var().item() == pytest.approx(variance, rel=0.03)


def test_the_loss_is_the_squared_distance_summed():
    data = source(coordinates=3)
    problem = data.episodes("train", 0, 1)
    w, y = problem.support_x[0], problem.support_y[0]
    x = torch.tensor([1.0, -2.0, 0.5])
    outputs = data.network.outputs({"x": x}, w, BatchStats())
    by_hand = sum((sum(w[i, j] * x[j] for j in range(3)) - y[i]) ** 2 for i in range(3))
    assert data.objective.loss(outputs, y).item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_starts_are_small_and_of_the_problem():
    data = source(start=0.5)
    keys = data.episodes("train", 0, 400).key
    starts = torch.stack([data.start(key)["x"] for key in keys])
    assert starts.std().item() == pytest.approx(0.5, rel=0.05)
    assert len(starts.unique()) == starts.numel()


def test_what_problems_do_not_have_is_refused():
    base = ["dataset=quadratics", "algo=adam"]
    assert check.problems(base) == []
    assert check.problems([*base, "shots=5"]) == [
        "shots=5: dataset=quadratics has optimisation problems, which have no shots: leave shots "
        "out"
    ]
    [message] = check.problems([*base, "backbone=conv4"])
    assert message.startswith("backbone=conv4: dataset=quadratics brings a network of its own")
    [message] = check.problems(["dataset=quadratics", "algo=maml"])
    assert message.startswith("algo=maml learns from few-shot tasks, but dataset=quadratics has")
    [message] = check.problems(["dataset=omniglot", "algo=adam"])
    assert message.startswith("algo=adam is an optimiser of problems")
    [message] = check.problems(["dataset=omniglot", "backbone=of_problems"])
    assert message.startswith("backbone=of_problems: dataset=omniglot does not bring a network")
    [message] = check.problems([*base, "eval.ensemble=3"])
    assert message.startswith("eval.ensemble=3: the losses of several optimisers")
