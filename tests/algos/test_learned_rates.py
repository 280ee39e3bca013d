"""Rates per weight (Meta-SGD) against paper and pencil."""

import pytest
import torch
from problems import (
    FakeSource,
    Line,
    Toy,
    at_epoch,
    conv4,
    deep,
    double,
    image_batch,
    images,
    learner,
    points,
)

from maml_cli.core.types import Episode

RATE = "inner_lr.head.weight"


class Plane(Toy):
    """A network with weights (3, 5) that answers their product with its two inputs."""

    feature_shape = (2,)
    start = (3.0, 5.0)

    def head(self, params, features):
        return (features @ params["head.weight"]).unsqueeze(-1)


@pytest.mark.parametrize("engine", ["loop", "threads", "vmap"])
def test_every_weight_has_a_rate_of_its_own(engine):
    # Inputs (1, 0) and (0, 1) show one weight each: L = ((w0 - s)^2 + (w1 - s)^2) / 2, so one step
    # is phi_i = w_i - a_i (w_i - s). With s = 1, q = 2, a = (0.1, 0.5): phi = (2.8, 3.0).
    # dL/da_i = (phi_i - q) * -(w_i - s), dL/dw_i = (phi_i - q) * (1 - a_i).
    found = learner(
        Plane(), FakeSource((2,)), engine=engine, inner_steps=1, rate_per_weight=True, inner_lr=0.0
    )
    params = found.init(0)
    params.theta[RATE].copy_(torch.tensor([[0.1, 0.5]]))
    inputs = torch.eye(2).unsqueeze(0)
    targets = torch.ones(1, 2, 1)
    classes, key = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64)
    episode = Episode(inputs, targets, inputs, 2 * targets, classes, key)
    gradient = found.meta_gradient(params, episode, at_epoch(0)).gradient
    torch.testing.assert_close(gradient[RATE], torch.tensor([[-1.6, -4.0]]))
    torch.testing.assert_close(gradient["model.head.weight"], torch.tensor([0.72, 0.5]))


@pytest.mark.parametrize(("order", "expected"), [(2, -3.584), (1, -4.032)])
def test_a_shared_rate_collects_the_gradients_of_all_steps(order, expected):
    # the sums of what test_meta_gradient derives for the two steps apart
    found = learner(Line(), FakeSource(), inner_steps=2, rate_per_weight=True, order=order)
    step = found.meta_gradient(found.init(0), points((1.0, 2.0)), at_epoch(0))
    torch.testing.assert_close(step.gradient[RATE], torch.tensor([[expected]]))


def test_with_lslr_there_is_a_rate_per_weight_and_step():
    found = learner(Line(), FakeSource(), inner_steps=2, rate_per_weight=True, lslr=True)
    step = found.meta_gradient(found.init(0), points((1.0, 2.0)), at_epoch(0))
    torch.testing.assert_close(step.gradient[RATE], torch.tensor([[-1.792], [-1.792]]))


def test_rates_start_uniform_between_their_bounds_beside_the_same_network():
    backbone = conv4(filters=16)
    drawn = learner(
        backbone, images(3), rate_per_weight=True, inner_lr=0.005, inner_lr_max=0.1
    ).init(0)
    plain = learner(backbone, images(3)).init(0)
    assert all(torch.equal(drawn.theta[n], t) for n, t in plain.theta.items())
    rates = {n: t for n, t in drawn.theta.items() if n not in plain.theta}
    for name, rate in rates.items():
        assert rate.shape == (1, *plain.theta[name.replace("inner_lr", "model")].shape)
    values = torch.cat([rate.flatten() for rate in rates.values()])
    assert values.min() >= 0.005
    assert values.max() <= 0.1
    assert values.mean().item() == pytest.approx(0.0525, abs=0.002)  # the middle


@pytest.mark.parametrize("engine", ["threads", "vmap"])
def test_engines_agree_and_it_combines_with_the_switches_of_mamlpp(engine):
    backbone, source = conv4(), images(3)
    loop, other = (
        learner(
            backbone,
            source,
            engine=e,
            rate_per_weight=True,
            msl=True,
            bnrs=True,
            bnwb=True,
            da=True,
        )
        for e in ("loop", engine)
    )
    batch = image_batch(3, 3, 1, 2, source)
    for epoch in (0, 5):  # of first and of second order
        ours, theirs = (
            f.meta_gradient(double(f.init(0)), batch, at_epoch(epoch)) for f in (loop, other)
        )
        torch.testing.assert_close(ours.gradient, theirs.gradient, rtol=1e-8, atol=1e-11)
        torch.testing.assert_close(ours.state, theirs.state, rtol=1e-10, atol=1e-12)


def test_logged_rates_are_means_over_the_weights():
    found = learner(Plane(), FakeSource((2,)), rate_per_weight=True)
    params = found.init(0)
    params.theta[RATE].copy_(torch.tensor([[0.1, 0.5]]))
    assert found.algorithm.learned_rates(deep(params))["head.weight"] == pytest.approx([0.3])
