"""ANIL: where the head alone adapts, features are computed once, and nothing else changes by it."""

import functools
from dataclasses import replace
from typing import get_args

import pytest
import torch
from problems import (
    CPU,
    TRAIN,
    Learner,
    at_epoch,
    conv4,
    double,
    evaluated,
    image_batch,
    images,
    maml,
)

from maml_cli.core.settings import BatchNormStats
from maml_cli.engines.choice import make_engine
from maml_cli.inner.views import AsTheyAre

SOURCE = images(3)
BATCH = image_batch(2, 3, 2, 2, SOURCE)
NETWORK = conv4().build(SOURCE.input_shape)


class AnythingMayChange(AsTheyAre):
    """The parameters as they are, but the inner loop cannot rely on it."""

    constant = False


def anil(engine, *, reuses, bn_stats="running", **changes):
    settings = maml(adapts=["head"], inner_steps=3, msl=True, lslr=True, **changes)
    algorithm = settings.build(NETWORK, SOURCE, replace(TRAIN, bn_stats=bn_stats))
    if not reuses:
        algorithm = replace(algorithm, inner=replace(algorithm.inner, view=AnythingMayChange()))
    assert algorithm.inner.reuses_features == reuses
    return Learner(make_engine(engine, algorithm, CPU))


def passes_of(found):
    """How often the convolutions see the inputs of one task in an outer iteration."""
    seen = []
    original = NETWORK.features
    NETWORK.features = lambda *arguments: seen.append(1) or original(*arguments)
    try:
        one = type(BATCH)(*(field[:1] for field in BATCH))
        found.meta_gradient(double(found.init(0)), one, at_epoch(0))
    finally:
        del NETWORK.features
    return len(seen)


@functools.cache
def without_reuse(order):
    found = anil("loop", reuses=False, order=order)
    return found.meta_gradient(double(found.init(0)), BATCH, at_epoch(2))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("engine", ["loop", "threads", "vmap"])
def test_gradients_and_statistics_are_those_of_a_pass_at_every_step(engine, order, recompute):
    found = anil(engine, reuses=True, order=order, recompute=recompute)
    step, expected = (
        found.meta_gradient(double(found.init(0)), BATCH, at_epoch(2)),
        without_reuse(order),
    )
    for field in ("gradient", "state", "loss", "query_loss"):
        torch.testing.assert_close(
            getattr(step, field), getattr(expected, field), rtol=1e-9, atol=1e-12
        )
    assert step.query_steps == expected.query_steps


@pytest.mark.parametrize("mode", get_args(BatchNormStats))
@pytest.mark.parametrize("engine", ["loop", "threads", "vmap"])
def test_predictions_are_those_of_a_pass_at_every_step(engine, mode):
    once, often = anil(engine, reuses=True), anil("loop", reuses=False)
    params = double(once.init(0))
    for name, tensor in params.state.items():  # running statistics that differ from the batch's
        if name.startswith("running"):
            tensor.add_(0.1 if name.endswith("input") else -0.5)
    outputs = [f.predict(params, BATCH, evaluated((0, 1, 4), mode)) for f in (once, often)]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-12)


def test_the_body_sees_each_image_once():
    # one pass of the support set and one of the queries, instead of one of each at all three steps
    assert passes_of(anil("loop", reuses=True, bn_stats="batch")) == 2
    assert passes_of(anil("loop", reuses=False, bn_stats="batch")) == 6


@pytest.mark.parametrize("changes", [{"bnwb": True}, {"adapts": ["norm", "head"]}])
def test_features_that_change_are_computed_at_every_step(changes):
    algorithm = maml(**{"adapts": ["head"]} | changes).build(NETWORK, SOURCE, TRAIN)
    assert not algorithm.inner.reuses_features
