"""PLATIPUS against values from paper and pencil, and against MAML."""

import math
from dataclasses import replace

import pytest
import torch
from problems import (
    EXPERIMENT,
    FakeSource,
    Line,
    at_epoch,
    built,
    composed,
    evaluated,
    images,
    learner,
    points,
    shipped,
)

from maml_cli.algos import platipus
from maml_cli.algos.platipus import kl_divergence
from maml_cli.core.algorithm import MetaParameters, nested
from maml_cli.core.types import Episode

HALF = math.sqrt(0.5)
"""Of this input, the squared error of `w x` from `y x` is `(w - y)^2 / 2`."""


class FromOne(Line):
    start = (1.0,)


def task(support: float, query: float):
    return points((support * HALF, query * HALF), x=HALF)


def platipus_learner(**changes):
    fields = {"inner_steps": 1, "inner_lr": 0.5, "conditioning_lr": 0.1, "deviation": 0.1}
    return built(shipped("algo", "platipus", **fields | changes), FromOne(), FakeSource())


def with_zeros(params, *names):
    """The parameters, where these sections are 0; deviations are `exp(-40)`."""
    theta = {
        n: torch.full_like(t, -40.0 if n.startswith(("prior.", "posterior.")) else 0.0)
        if n.startswith(names)
        else t
        for n, t in params.theta.items()
    }
    return MetaParameters(theta=theta, state={})


def test_the_divergence_of_two_normal_distributions():
    """KL of N(0, 1/4) and N(1, 1)."""
    one = {n: {"w": torch.tensor([v])} for n, v in (("0", 0.0), ("1", 1.0), ("half", -math.log(2)))}
    found = kl_divergence(one["0"], one["half"], one["1"], one["0"])
    assert found.item() == pytest.approx(0.818147, abs=1e-6)


@pytest.mark.parametrize(("kl_weight", "loss"), [(0.0, 0.98), (0.5, 1.98)])
def test_a_task_by_hand(monkeypatch, kl_weight, loss):
    """Start 1: q and p have means 1.1 and 0.9, so KL is 2; noise +1 draws 1.2, adapted to 0.6."""

    def ones(key, stream, shape, start):  # noqa: ARG001
        return torch.ones(shape)

    monkeypatch.setattr(platipus.noise, "normal", ones)
    made = platipus_learner(kl_weight=kl_weight)
    found = made.meta_gradient(made.init(0), task(0.0, 2.0), at_epoch(0))
    assert found.loss.item() == pytest.approx(loss, abs=1e-5)
    assert found.query_loss.item() == pytest.approx(0.98, abs=1e-5)


def test_without_deviations_and_conditioning_it_is_maml():
    made = platipus_learner(kl_weight=0.0)
    params = with_zeros(made.init(0), "posterior.", "posterior_lr.")
    found = made.meta_gradient(params, task(0.0, 2.0), at_epoch(0))
    maml = learner(FromOne(), FakeSource(), inner_steps=1, inner_lr=0.5)
    expected = maml.meta_gradient(maml.init(0), task(0.0, 2.0), at_epoch(0))
    assert found.loss.item() == pytest.approx(expected.loss.item())
    gradients = (step.gradient["model.head.weight"].item() for step in (found, expected))
    assert next(gradients) == pytest.approx(next(gradients))


def test_a_draw_moves_with_its_deviation():
    """The gradient of the posterior's log-deviation against a difference, in float64."""
    made = platipus_learner(kl_weight=0.3)
    episode = Episode(*(t.double() if t.is_floating_point() else t for t in task(0.0, 2.0)))
    params = made.init(0)
    theta = {n: t.double() for n, t in params.theta.items()}
    name = "posterior.head.weight"

    def loss(shift):
        moved = MetaParameters(theta={**theta, name: theta[name] + shift}, state={})
        return made.meta_gradient(moved, episode, at_epoch(0))

    slope = (loss(1e-5).loss - loss(-1e-5).loss) / 2e-5
    assert loss(0).gradient[name].item() == pytest.approx(slope.item(), rel=1e-6)


def test_fewer_samples_are_the_first_of_more():
    outputs = []
    for samples in (2, 5):
        made = platipus_learner(samples=samples)
        params = MetaParameters(theta=nested(made.init(0).theta), state={})
        outputs.append(made.engine.predict(params, task(0.0, 2.0), evaluated((0, 1), "batch")))
    assert outputs[1].shape == (1, 2, 5, 1, 1)
    assert torch.equal(outputs[0], outputs[1][:, :, :2])
    assert outputs[1].unique().numel() == 10


def test_what_it_cannot_normalise_by_is_said():
    settings = shipped("algo", "platipus")
    asked = replace(EXPERIMENT, eval=replace(EXPERIMENT.eval, bn_stats="running"), algo=settings)
    assert [p.partition(":")[0] for p in settings.check(asked)] == ["eval.bn_stats=running"]


def test_the_divergence_of_images_weighs_about_as_in_the_bound():
    """Far below `weights / queries`, q tells the network the labels of its queries."""
    settings = composed("algo=platipus", "dataset=omniglot", "ways=5", "shots=1", "queries=1")
    made = built(settings.algo, settings.backbone, images(5))
    weights = sum(t.numel() for t in nested(made.init(0).theta)["prior"].values())
    assert 0.2 < settings.algo.kl_weight / (weights / 5) < 5
