"""Reptile against paper and pencil: its direction, its minibatches, and Adam's memory."""

from typing import Any

import pytest
import torch
from problems import (
    EXPERIMENT,
    FakeSource,
    Line,
    at_epoch,
    built,
    conv4,
    double,
    evaluated,
    image_batch,
    images,
    points,
    shipped,
)

from maml_cli.core.types import Episode
from maml_cli.inner.feeds import Minibatches

ENGINES = ["loop", "threads", "vmap"]
W = "model.head.weight"
CONV4 = conv4()
SGD: dict[str, Any] = {
    "inner_steps": 3,
    "inner_lr": 0.1,
    "inner_optimizer": "sgd",
    "carry_moments": False,
    "inner_batch": 1,
    "eval_inner_batch": 1,
}
ADAM = SGD | {"inner_optimizer": "adam"}


def reptile(network, source, engine="loop", **changes):
    return built(shipped("algo", "reptile", **SGD | changes), network, source, engine)


def line(*targets, engine="loop", **changes):
    found = reptile(Line(), FakeSource(), engine, **changes)
    return found.meta_gradient(found.init(0), points(*targets), at_epoch(0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_direction_on_a_quadratic_after_k_steps(steps, engine):
    # phi_k - s = (1 - 2 a)^k (w - s), so theta - phi = (1 - 0.8^k) (w - s); w = 3, s = 1 and s = 0
    step = line((1.0, 2.0), (0.0, 2.0), inner_steps=steps, engine=engine)
    assert step.gradient[W].item() == pytest.approx((1 - 0.8**steps) * (2 + 3) / 2, rel=1e-5)


def test_one_step_is_joint_training():
    # k = 1: theta - phi is a times the gradient of the mean loss: 0.1 * 2 * (2 + 3) / 2
    assert line((1.0, 2.0), (0.0, 2.0), inner_steps=1).gradient[W].item() == pytest.approx(0.5)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_last_inner_gradient_alone_is_first_order_maml(steps):
    # phi_k - s = 0.8^k (w - s), so phi_(k-1) - phi_k = 0.8^(k-1) * 0.2 (w - s); w = 3, s = 1 and 0
    step = line((1.0, 2.0), (0.0, 2.0), inner_steps=steps, outer_gradients="last")
    expected = 0.8 ** (steps - 1) * 0.2 * (2 + 3) / 2
    assert step.gradient[W].item() == pytest.approx(expected, rel=1e-5)


def test_inner_gradients_sum_to_the_outer_step():
    """g1 + g2 + g3 is what Reptile moves by; the last one of each prefix is g1, g2 and g3."""
    last = [line((1.0, 2.0), inner_steps=k, outer_gradients="last").gradient[W] for k in (1, 2, 3)]
    assert sum(last).item() == pytest.approx(line((1.0, 2.0), inner_steps=3).gradient[W].item())


def test_the_outer_step_moves_towards_phi():
    """At rate e, theta becomes theta + e (phi - theta): w = 3, phi = 2.6, e = 1/2."""
    found = reptile(Line(), FakeSource(), inner_steps=1)
    params = found.init(0)
    optimizer = found.algorithm.optimizer(list(params.theta.values()))
    step = found.meta_gradient(params, points((1.0, 2.0)), at_epoch(0))
    optimizer.param_groups[0]["lr"] = 0.5
    params.theta[W].grad = step.gradient[W]
    optimizer.step()
    assert params.theta[W].item() == pytest.approx(2.8)


def test_the_outer_rate_falls_linearly_per_iteration():
    outer_lr = reptile(Line(), FakeSource()).algorithm.outer_lr
    # 1e-3 to 1e-5 over 50,000 iterations; epoch 50 begins at half of them
    assert outer_lr(at_epoch(0)) == pytest.approx(1e-3)
    assert outer_lr(at_epoch(50)) == pytest.approx((1e-3 + 1e-5) / 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_adam_without_momentum_by_hand(engine):
    # g = 2 (w - s) = 4. t = 1: v / (1 - b) = 16, so the step is 0.1 * 4/4: w = 2.9.
    # t = 2: g = 3.8, v = 0.999 * 0.016 + 0.001 * 14.44 = 0.030424; / (1 - 0.999^2) = 15.2196098...
    # 0.1 * 3.8 / 3.9012318 = 0.0974051: w = 2.8025949
    step = line((1.0, 2.0), engine=engine, inner_optimizer="adam", inner_steps=2)
    assert step.gradient[W].item() == pytest.approx(3 - 2.8025949, abs=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_carried_moments_go_on_from_task_to_task_and_are_state(engine):
    # Two equal tasks of one step each: the second starts at w = 3 with v = 0.016 and t = 1:
    # g = 4, v = 0.031984, / 0.001999 = 16: 0.1 again. With s = 2, g = 2: v = 0.019984, / 0.001999
    # = 9.996998: the step is 0.2 / 3.1618029 = 0.0632550.
    one_step = ADAM | {"inner_steps": 1, "engine": engine}
    carried = line((1.0, 2.0), (2.0, 2.0), **one_step | {"carry_moments": True})
    assert carried.gradient[W].item() == pytest.approx((0.1 + 0.0632550) / 2, rel=1e-4)
    assert carried.state["count.steps"].item() == 2
    assert carried.state["square.head.weight"].item() == pytest.approx(0.019984, rel=1e-4)
    # Alone, each step of a first gradient is the rate itself.
    reset = line((1.0, 2.0), (2.0, 2.0), **one_step)
    assert reset.gradient[W].item() == pytest.approx(0.1, rel=1e-5)
    assert reset.state["count.steps"].item() == 0


def test_moments_without_adam_are_refused():
    settings = shipped("algo", "reptile", **SGD | {"carry_moments": True})
    (problem,) = settings.check(EXPERIMENT)
    assert problem.endswith("set algo.carry_moments=false")


def test_a_minibatch_sees_its_rows_only():
    """Two support points, one per step: the first alone decides the first step."""
    found = reptile(Line(), FakeSource(), inner_steps=1)
    support = torch.tensor([[[1.0], [1.5]]])
    targets = torch.tensor([[[1.0], [0.0]]])
    classes = torch.zeros(1, 1, dtype=torch.int64)
    phis = []
    for word in range(10):  # keys that order the points in both ways
        key = torch.tensor([[word, 0]])
        episode = Episode(support, targets, support, targets, classes, key)
        step = found.meta_gradient(found.init(0), episode, at_epoch(0))
        phis.append(3 - step.gradient[W].item())
        # first point: 3 - 0.1 * 2 * (3 - 1) = 2.6; second: 3 - 0.1 * 2 * 1.5 * 4.5 = 1.65
        expected = [2.6, 1.65][Minibatches(1).rows(key[0], 2, 0).item()]
        assert phis[-1] == pytest.approx(expected, rel=1e-5)
    assert max(phis) - min(phis) > 0.9


@pytest.mark.parametrize("optimizer", [SGD, ADAM, ADAM | {"carry_moments": True}])
@pytest.mark.parametrize("engine", ["threads", "vmap"])
def test_engines_agree(engine, optimizer):
    source, results = images(3), []
    batch = image_batch(3, 3, 2, 2, source)
    for name in ("loop", engine):
        found = reptile(CONV4, source, name, **optimizer | {"inner_batch": 4, "inner_lr": 1e-3})
        params = double(found.init(0))
        step = found.meta_gradient(params, batch, at_epoch(0))
        outputs = [
            found.predict(params, batch, evaluated(range(4), m))
            for m in ("support", "support_and_query")
        ]
        results.append((step.gradient, step.state, outputs))
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("mode", ["batch", "support", "support_and_query"])
def test_evaluation_changes_nothing_and_takes_any_number_of_steps(mode):
    found = reptile(CONV4, images(3), **ADAM | {"eval_inner_batch": 4})
    params, batch = double(found.init(0)), image_batch(2, 3, 2, 2, images(3))
    before = {n: t.clone() for n, t in {**params.theta, **params.state}.items()}
    outputs = found.predict(params, batch, evaluated(range(5), mode))
    assert outputs.shape == (2, 5, 6, 3)
    assert torch.equal(outputs[:, :1], found.predict(params, batch, evaluated(range(1), mode)))
    after = {**params.theta, **params.state}
    assert all(torch.equal(after[n], t) for n, t in before.items())


@pytest.mark.parametrize(("after", "expected"), [([0, 2], [3.0, 2.28]), ([3], [2.024])])
def test_queries_are_asked_after_the_wanted_steps_only(after, expected):
    found = reptile(Line(), FakeSource())  # w_k = 1 + 0.8^k * 2
    outputs = found.predict(found.init(0), points((1.0, 9.0)), evaluated(after, "batch"))
    torch.testing.assert_close(outputs.flatten(), torch.tensor(expected))
