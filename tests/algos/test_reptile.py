"""Reptile against paper and pencil: its direction, its minibatches, and Adam's memory."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from maml_cli.engines.engines import make_engine
from maml_cli.inner.minibatches import minibatches
from problems import (
    RUN,
    TRAIN,
    FakeSource,
    Line,
    at_epoch,
    conv4,
    double,
    image_batch,
    images,
    looks,
    points,
)

from maml_cli.algos.reptile import Reptile
from maml_cli.core.types import Episode

ENGINES = ["loop", "threads", "vmap"]
W = "model.head.weight"
CONV4 = conv4()
SGD: dict[str, Any] = {
    "name": "test",
    "inner_steps": 3,
    "inner_lr": 0.1,
    "inner_optimizer": "sgd",
    "carry_moments": False,
    "inner_batch": 1,
    "eval_inner_batch": 1,
}
ADAM = SGD | {"inner_optimizer": "adam"}


def reptile(backbone, source, engine="loop", **changes):
    built = make_engine(engine)
    return Reptile(**(SGD | changes)).build(backbone, source, TRAIN, built)


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


def test_the_outer_step_moves_towards_phi():
    """At rate e, theta becomes theta + e (phi - theta): w = 3, phi = 2.6, e = 1/2."""
    found = reptile(Line(), FakeSource(), inner_steps=1)
    params = found.init(0)
    optimizer = found.optimizer(list(params.theta.values()))
    step = found.meta_gradient(params, points((1.0, 2.0)), at_epoch(0))
    optimizer.param_groups[0]["lr"] = 0.5
    params.theta[W].grad = step.gradient[W]
    optimizer.step()
    assert params.theta[W].item() == pytest.approx(2.8)


def test_the_outer_rate_falls_linearly_per_iteration():
    found = reptile(Line(), FakeSource())
    # 1e-3 to 1e-5 over 50,000 iterations; epoch 50 begins at half of them
    assert found.outer_lr(at_epoch(0)) == pytest.approx(1e-3)
    assert found.outer_lr(at_epoch(50)) == pytest.approx((1e-3 + 1e-5) / 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_adam_without_momentum_by_hand(engine):
    # g = 2 (w - s) = 4. t = 1: v / (1 - b) = 16, so the step is 0.1 * 4/4: w = 2.9.
    # t = 2: g = 3.8, v = 0.999 * 0.016 + 0.001 * 14.44 = 0.030424; / (1 - 0.999^2) = 15.2196098...
    # 0.1 * 3.8 / 3.9012318 = 0.0974051: w = 2.8025949
    step = line((1.0, 2.0), engine=engine, inner_optimizer="adam", inner_steps=2)
    assert step.gradient[W].item() == pytest.approx(3 - 2.8025949, abs=1e-6)


def test_carried_moments_go_on_from_task_to_task_and_are_state():
    # Two equal tasks of one step each: the second starts at w = 3 with v = 0.016 and t = 1:
    # g = 4, v = 0.031984, / 0.001999 = 16: 0.1 again. With s = 2, g = 2: v = 0.019984, / 0.001999
    # = 9.996998: the step is 0.2 / 3.1618029 = 0.0632550.
    carried = line((1.0, 2.0), (2.0, 2.0), **ADAM | {"inner_steps": 1, "carry_moments": True})
    assert carried.gradient[W].item() == pytest.approx((0.1 + 0.0632550) / 2, rel=1e-4)
    assert carried.state["memory.steps"].item() == 2
    assert carried.state["memory.head.weight"].item() == pytest.approx(0.019984, rel=1e-4)
    # Alone, each step of a first gradient is the rate itself.
    reset = line((1.0, 2.0), (2.0, 2.0), **ADAM | {"inner_steps": 1})
    assert reset.gradient[W].item() == pytest.approx(0.1, rel=1e-5)
    assert reset.state["memory.steps"].item() == 0


def test_moments_without_adam_are_refused():
    experiment = SimpleNamespace(run=RUN, train=TRAIN)
    (problem,) = Reptile(**(SGD | {"carry_moments": True})).check(experiment)
    assert problem.endswith("set algo.carry_moments=false")


def test_minibatches_run_through_the_set_without_replacement():
    inputs = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    rows = minibatches(inputs, size=4, count=6)
    assert rows.shape == (6, 4)
    orders = rows.view(4, 6)  # four passes over six examples, cut into minibatches of four
    assert all(sorted(order.tolist()) == list(range(6)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) > 1


def test_minibatches_belong_to_the_episode_alone():
    batch = torch.rand(8, 6, 3, generator=torch.Generator().manual_seed(0))
    alone = torch.stack([minibatches(x, size=2, count=6) for x in batch])
    together = torch.func.vmap(lambda x: minibatches(x, size=2, count=6))(batch)
    assert torch.equal(alone, together)
    assert torch.equal(alone, torch.stack([minibatches(x, size=2, count=6) for x in batch]))
    assert len({tuple(order.flatten().tolist()) for order in alone}) == 8
    assert torch.equal(minibatches(batch[0], size=2, count=3), alone[0][:3])  # a longer run goes on


def test_each_order_is_about_as_frequent():
    """Three examples have six orders; 600 episodes: 100 each, within five deviations of 9.1."""
    batch = torch.rand(600, 3, 1, generator=torch.Generator().manual_seed(0))
    orders = [tuple(minibatches(x, size=3, count=1)[0].tolist()) for x in batch]
    assert all(abs(orders.count(order) - 100) < 46 for order in set(orders))
    assert len(set(orders)) == 6


def test_a_minibatch_sees_its_rows_only():
    """Two support points, one per step: the first alone decides the first step."""
    found = reptile(Line(), FakeSource(), inner_steps=1)
    support = torch.tensor([[[1.0], [1.5]]])
    targets = torch.tensor([[[1.0], [0.0]]])
    classes, key = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64)
    episode = Episode(support, targets, support, targets, classes, key)
    phi = 3 - found.meta_gradient(found.init(0), episode, at_epoch(0)).gradient[W].item()
    # first point: 3 - 0.1 * 2 * (3 - 1) = 2.6; second: 3 - 0.1 * 2 * 1.5 * 4.5 = 1.65
    expected = [2.6, 1.65][minibatches(support[0], size=1, count=1).item()]
    assert phi == pytest.approx(expected, rel=1e-5)


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
            found.predict(params, batch, looks(range(4), m))
            for m in ("support", "support_and_query")
        ]
        results.append((step.gradient, step.state, outputs))
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("mode", ["batch", "support", "support_and_query", "running"])
def test_evaluation_changes_nothing_and_takes_any_number_of_steps(mode):
    found = reptile(CONV4, images(3), **ADAM | {"eval_inner_batch": 4})
    params, batch = double(found.init(0)), image_batch(2, 3, 2, 2, images(3))
    before = {n: t.clone() for n, t in {**params.theta, **params.state}.items()}
    outputs = found.predict(params, batch, looks(range(5), mode))
    assert outputs.shape == (2, 5, 6, 3)
    assert torch.equal(outputs[:, :1], found.predict(params, batch, looks(range(1), mode)))
    after = {**params.theta, **params.state}
    assert all(torch.equal(after[n], t) for n, t in before.items())


@pytest.mark.parametrize(("after", "expected"), [([0, 2], [3.0, 2.28]), ([3], [2.024])])
def test_queries_are_asked_after_the_wanted_steps_only(after, expected):
    found = reptile(Line(), FakeSource())  # w_k = 1 + 0.8^k * 2
    outputs = found.predict(found.init(0), points((1.0, 9.0)), looks(after, "batch"))
    torch.testing.assert_close(outputs.flatten(), torch.tensor(expected))
