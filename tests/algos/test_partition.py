"""What adapts: the head alone (ANIL), the body alone (BOIL), with or without batch norm."""

import pytest
import torch
from problems import at_epoch, conv4, deep, double, image_batch, images, learner

from maml_cli.core.algorithm import Ops, nested
from maml_cli.core.autodiff import Autograd
from maml_cli.core.norms import BatchStats
from maml_cli.core.types import Episode
from maml_cli.inner.norm_policies import ByBatch

CONV4 = conv4()
HEAD = {"head.weight", "head.bias"}
NORM = {f"body.{b}.norm.{p}" for b in range(4) for p in ("weight", "bias")}
BODY = {f"body.{b}.conv.{p}" for b in range(4) for p in ("weight", "bias")}
# A bias before a batch norm by batch statistics changes nothing, so its gradient is zero.
IDLE = {f"body.{b}.conv.bias" for b in range(4)}
SETS = [
    (["head"], HEAD),
    (["body"], BODY),
    (["body", "norm"], BODY | NORM),
    (["body", "head"], BODY | HEAD),
    (["body", "norm", "head"], BODY | NORM | HEAD),
]


@pytest.mark.parametrize(("adapts", "expected"), SETS)
def test_inner_steps_change_these_parameters_and_no_others(adapts, expected):
    source = images(3)
    found = learner(CONV4, source, adapts=adapts, inner_steps=2)
    params = deep(double(found.init(0)))
    episode = Episode(*(field[0] for field in image_batch(1, 3, 2, 1, source)))
    task = found.algorithm.inner.begin(
        params, episode, Ops(Autograd(), BatchStats), policy=ByBatch(), order=1
    )
    point = task.start
    for number in range(2):
        point = task.step(point, number)
    theta, phi = params.theta["model"], point.phi
    moved = {n for n, p in phi.items() if not torch.allclose(p, theta[n], atol=1e-12)}
    assert moved == expected - IDLE


@pytest.mark.parametrize(("adapts", "expected"), SETS)
def test_learned_rates_are_those_of_the_adapted_parameters(adapts, expected):
    params = learner(CONV4, images(3), adapts=adapts, lslr=True).init(0)
    assert set(deep(params).theta["inner_lr"]) == expected


@pytest.mark.parametrize("adapts", [["head"], ["body", "norm"]])
def test_what_does_not_adapt_is_still_meta_learned(adapts):
    source = images(3)
    found = learner(CONV4, source, adapts=adapts)
    step = found.meta_gradient(double(found.init(0)), image_batch(2, 3, 2, 2, source), at_epoch(0))
    still = {n for n, g in nested(step.gradient)["model"].items() if not g.abs().max() > 1e-9}
    assert still == IDLE


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("engine", ["threads", "vmap"])
@pytest.mark.parametrize("adapts", [["head"], ["body", "norm"]])
def test_engines_agree(adapts, engine, order):
    source, results = images(3), []
    for name in ("loop", engine):
        found = learner(CONV4, source, engine=name, adapts=adapts, order=order)
        batch = image_batch(2, 3, 2, 2, source)
        results.append(found.meta_gradient(double(found.init(0)), batch, at_epoch(0)).gradient)
    torch.testing.assert_close(*results, rtol=1e-8, atol=1e-11)
