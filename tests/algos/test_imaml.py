"""iMAML against paper and pencil: U = h/2 (phi - 3)^2, V = phi^2/2, theta = 1, lambda = 2.

The loss is the squared error of `w x`, so that x = sqrt(h/2) with target 3x gives U. At the inner
rate 1/(h + lambda) one step reaches the minimum of U with its proximal term.
"""

import math
from dataclasses import replace

import pytest
import torch
from problems import (
    FakeSource,
    Line,
    Toy,
    at_epoch,
    built,
    conv4,
    deep,
    double,
    image_batch,
    images,
    keys,
    learner,
    shipped,
)

from maml_cli.core.types import Episode, Evaluation
from maml_cli.engines.per_task import loop
from maml_cli.inner.implicit import Implicit, conjugate_gradients

W = "model.head.weight"
ENGINES = ["loop", "threads", "vmap"]


class One(Line):
    start = (1.0,)


def task(h):
    x = torch.full((1, 1, 1), math.sqrt(h / 2))
    query = torch.full((1, 1, 1), math.sqrt(0.5))
    classes = torch.zeros(1, 1, dtype=torch.int64)
    return Episode(x, 3 * x, query, 0 * query, classes, keys(1))


def imaml(h, engine="loop", **changes):
    proximal = changes.get("proximal", 2.0)
    fields = {"inner_steps": 1, "inner_lr": 1 / (h + proximal), "proximal": 2.0} | changes
    found = learner(One(), FakeSource(), engine=engine, implicit=True, **fields)
    return found, found.meta_gradient(found.init(0), task(h), at_epoch(0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("h", "phi", "gradient"), [(2, 2.0, 1.0), (20, 31 / 11, 0.2561983)])
def test_the_implicit_gradient(engine, h, phi, gradient):
    # phi* = (3h + 2) / (h + 2); the gradient is phi* / (1 + h/2)
    _, step = imaml(h, engine)
    assert step.loss.item() == pytest.approx(phi**2 / 2, rel=1e-5)
    assert step.gradient[W].item() == pytest.approx(gradient, rel=1e-5)


@pytest.mark.parametrize(("h", "gradient"), [(2, 0.9230769), (20, 0.7685950)])
def test_the_system_of_the_official_code_is_another_one(h, gradient):
    # 2 I + H/12 at the same phi
    found, _ = imaml(h)
    other = replace(
        found.algorithm, implicit=Implicit(steps=1, proximal=12.0, cg_steps=5, damping=1.0)
    )
    step = loop(other).meta_gradient(deep(found.init(0)), task(h), at_epoch(0))
    assert step.gradient["model"]["head.weight"].item() == pytest.approx(gradient, rel=1e-5)


def test_the_official_code_as_a_switch():
    # rate 0.05, no proximal term: phi = 1 + 0.05 * 40 = 3, then 3 - 0.05 * 2 * (3 - 1) = 2.8
    _, step = imaml(20, inner_lr=0.05, released_system=True, cg_damping=1.0)
    assert step.loss.item() == pytest.approx(2.8**2 / 2, rel=1e-5)
    assert step.gradient[W].item() == pytest.approx(2.8 / (2 + 20 / 12), rel=1e-5)


def test_the_official_code_answers_where_it_was_trained():
    # as above: the queries' loss after one step is that at 2.8; before any step it is that at 1
    found, step = imaml(20, inner_lr=0.05, released_system=True, cg_damping=1.0)
    outputs = found.predict(found.init(0), task(20), Evaluation((0, 1), "batch"))
    losses = outputs.square().mean((0, 2, 3))
    assert losses.tolist() == pytest.approx([1 / 2, 2.8**2 / 2], rel=1e-5)
    assert losses[1].item() == pytest.approx(step.loss.item(), rel=1e-6)


def test_a_strong_pull_leaves_the_gradient_at_theta():
    _, step = imaml(2, proximal=1e6)
    assert step.gradient[W].item() == pytest.approx(1.0, rel=1e-4)


def test_conjugate_gradients_are_exact_after_as_many_steps_as_eigenvalues():
    generator = torch.Generator().manual_seed(2)
    basis, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))
    matrix = basis @ torch.diag(torch.tensor([1.0, 1, 4, 4, 9, 9]).double()) @ basis.T
    b = torch.randn(6, generator=generator, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, b)
    found = [conjugate_gradients(lambda v: matrix @ v, b, steps) for steps in (1, 2, 3, 9)]
    errors = [(x - exact).norm().item() for x in found]
    assert errors[0] > errors[1] > 1e-3
    assert max(errors[2:]) < 1e-12
    assert torch.equal(conjugate_gradients(lambda v: matrix @ v, 0 * b, 5), 0 * b)


def test_a_direction_that_is_not_positive_ends_the_search():
    diagonal = torch.tensor([2.0, -3.0])
    at_once = conjugate_gradients(lambda v: diagonal * v, torch.tensor([0.0, 1.0]), 5)
    assert at_once.tolist() == [0.0, 1.0]  # b itself
    # b = (3, 1): b'Ab = 15, |b|^2 = 10, x = 2/3 b; the next direction has a negative curvature
    later = conjugate_gradients(lambda v: diagonal * v, torch.tensor([3.0, 1.0]), 5)
    assert later.tolist() == pytest.approx([2.0, 2 / 3])


class TwoLayers(Toy):
    """`v tanh(u x + r)`: the head v adapts, u and r do not."""

    def init(self, generator):
        return {"body.u": torch.tensor([0.7, -1.1, 0.4]), "body.r": torch.tensor([0.1, 0.3, -0.2])}

    def init_head(self, outputs, generator):
        return {"head.weight": torch.tensor([0.5, -0.4, 0.9])}

    def features(self, params, x, norm):
        return torch.tanh(x * params["body.u"] + params["body.r"])

    def head(self, params, features):
        return (features * params["head.weight"]).sum(-1, keepdim=True)


@pytest.mark.parametrize("adapts", [["head"], ["body", "head"]])
def test_every_meta_parameter_has_its_slope_at_the_solution(adapts):
    """Central differences of the whole inner loop, which has come to its end after 120 steps."""
    paper = {"released_system": False, "cg_damping": 0.0}
    form = {"inner_steps": 120, "inner_lr": 0.2, "proximal": 1.5, "adapts": adapts, "cg_steps": 9}
    settings = shipped("algo", "imaml", **form, **paper)
    found = built(settings, TwoLayers(), FakeSource())
    params = double(found.init(0))
    x = torch.tensor([-1.5, -0.4, 0.3, 1.2], dtype=torch.float64).view(1, 4, 1)
    classes = torch.zeros(1, 1, dtype=torch.int64)
    episode = Episode(x, x.cos() * 2, x + 0.5, (x + 0.5).cos() * 2, classes, keys(1))
    step = found.meta_gradient(params, episode, at_epoch(0))

    def loss(name, place, shift):
        moved = params.theta[name].clone()
        moved[place] += shift
        there = type(params)(theta={**params.theta, name: moved}, state={})
        return found.meta_gradient(there, episode, at_epoch(0)).loss.item()

    for name, tensor in params.theta.items():
        for place in range(len(tensor)):
            slope = (loss(name, place, 1e-5) - loss(name, place, -1e-5)) / 2e-5
            assert step.gradient[name][place].item() == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_running_statistics_are_gathered_at_the_end_of_the_loop():
    source = images(2)
    settings = shipped("algo", "imaml", inner_steps=2, cg_steps=1)
    found = built(settings, conv4(filters=2), source, bn_stats="running")
    params = double(found.init(0))
    tasks = image_batch(2, 2, 2, 2, source)
    for epoch in (0, 50):  # by the batch at first, then by the averages
        step = found.meta_gradient(params, tasks, at_epoch(epoch))
        params = type(params)(theta=params.theta, state=step.state)
        assert all(gradient.isfinite().all() for gradient in step.gradient.values())
    assert params.state["updates.count"] == 2
    assert params.state["running.body.0.norm.input"].abs().sum() > 0


def test_the_implicit_gradient_does_not_know_the_way():
    """The same solution by plain descent and by momentum has the same meta-gradient."""
    h = 2
    plain = imaml(h, inner_steps=60, inner_lr=0.1)[1]
    momentum = imaml(h, inner_steps=400, inner_lr=0.05, inner_optimizer="momentum")[1]
    assert plain.gradient[W].item() == pytest.approx(1.0, rel=1e-4)
    assert momentum.gradient[W].item() == pytest.approx(1.0, rel=1e-4)
