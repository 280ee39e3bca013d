"""Meta-gradients against paper and pencil, and against finite differences.

The quadratic: the network answers w * x with x = 1, the loss is the squared error, so with support
target s and query target q one inner step is phi = w - 2 a (w - s), and
phi_k - s = (1 - 2a)^k (w - s).
All numbers below have w = 3, s = 1, q = 2.
"""

import functools
from typing import get_args

import pytest
import torch
from problems import (
    FakeSource,
    Line,
    at_epoch,
    conv4,
    double,
    evaluated,
    image_batch,
    images,
    learner,
    points,
)

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.settings import BatchNormStats

W = "model.head.weight"
ENGINES = ["loop", "threads", "vmap"]
MAMLPP = {"msl": True, "bnrs": True, "bnwb": True, "lslr": True}
VARIANTS = {
    "maml": {},
    "msl": {"msl": True},
    "bnrs": {"bnrs": True},
    "bnwb": {"bnwb": True},
    "lslr": {"lslr": True},
    "mamlpp": MAMLPP,
    "metasgd": {"rate_per_weight": True},
    "metasgd-per-step": {"rate_per_weight": True, "lslr": True, "msl": True},
    "anil": {"adapts": ["head"]},
    "boil": {"adapts": ["body", "norm"]},
}
IMAGES = image_batch(2, 3, 2, 2, images(3))


def meta_gradient(epoch: int = 0, episodes=None, **changes):
    found = learner(Line(), FakeSource(), **changes)
    return found.meta_gradient(found.init(0), episodes or points((1.0, 2.0)), at_epoch(epoch))


@pytest.mark.parametrize("engine", ENGINES)
def test_second_order_on_a_quadratic(engine):
    # phi_2 = 1 + 0.8^2 * 2 = 2.28; loss = 0.28^2; d/dw = 2 * 0.28 * 0.8^2
    step = meta_gradient(inner_steps=2, inner_lr=0.1, engine=engine)
    assert step.loss.item() == pytest.approx(0.0784, rel=1e-5)
    assert step.gradient[W].item() == pytest.approx(0.3584, rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_first_order_leaves_the_curvature_out(engine):
    # d/dphi_2 = 2 * 0.28
    step = meta_gradient(inner_steps=2, inner_lr=0.1, order=1, engine=engine)
    assert step.gradient[W].item() == pytest.approx(0.56, rel=1e-5)


def test_the_gradient_is_the_mean_over_tasks():
    # second task: s = 0, q = 0: phi_2 = 0.64 * 3 = 1.92, gradient 2 * 1.92 * 0.64 = 2.4576
    step = meta_gradient(inner_steps=2, episodes=points((1.0, 2.0), (0.0, 0.0)))
    assert step.gradient[W].item() == pytest.approx((0.3584 + 2.4576) / 2, rel=1e-5)


def test_inputs_scale_the_curvature():
    # x = 2: L = (2w - s)^2, phi = w - 0.1 * 4 (2w - s) = 0.2 w + 0.4 s = 1.0;
    # query with q = 1: 2 * (2 * 1 - 1) * 2 * 0.2 = 0.8
    step = meta_gradient(inner_steps=1, episodes=points((1.0, 1.0), x=2.0))
    assert step.gradient[W].item() == pytest.approx(0.8, rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_of_the_rates_per_step(order, engine):
    # phi_1 = 3 - 0.1 * 2 * (3 - 1) = 2.6. d loss / d phi_2 = 0.56.
    # The last rate: 0.56 * (-2) * (2.6 - 1).
    # The first one, through d phi_2 / d phi_1 = 0.8 (first order: 1): 0.56 * 0.8 * (-2) * 2.
    step = meta_gradient(inner_steps=2, lslr=True, order=order, engine=engine)
    first = -1.792 if order == 2 else -2.24
    expected = torch.tensor([first, -1.792])
    torch.testing.assert_close(step.gradient["inner_lr.head.weight"], expected)


def test_multi_step_loss_weighs_every_step():
    # epoch 0 of 10, two steps: both weights are 1/2. phi_1 = 2.6, phi_2 = 2.28:
    # loss = (0.36 + 0.0784) / 2, gradient = (2 * 0.6 * 0.8 + 2 * 0.28 * 0.64) / 2
    step = meta_gradient(msl=True)
    assert step.loss.item() == pytest.approx(0.2192, rel=1e-5)
    assert step.gradient[W].item() == pytest.approx(0.6592, rel=1e-5)
    assert step.query_steps == (1, 2)
    torch.testing.assert_close(step.query_loss, torch.tensor([0.36, 0.0784]))


def test_derivative_order_annealing_switches_after_its_epochs():
    steps = [meta_gradient(epoch, da=True, da_epochs=2) for epoch in range(4)]
    by_epoch = [step.gradient[W].item() for step in steps]
    assert by_epoch == pytest.approx([0.56, 0.56, 0.3584, 0.3584], rel=1e-5)


@functools.cache
def differences(variant, downsample):
    """For each meta-parameter a random direction d, and (L(theta + h d) - L(theta - h d)) / 2h."""
    # of first order, which changes no loss
    found = through_conv4("loop", variant, downsample, order=1)
    params, generator, slopes = double(found.init(0)), torch.Generator().manual_seed(1), {}
    for name, tensor in params.theta.items():
        direction = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)

        def loss(h, name=name, tensor=tensor, direction=direction):
            theta = {**params.theta, name: tensor + h * direction}
            shifted = MetaParameters(theta=theta, state=params.state)
            return found.meta_gradient(shifted, IMAGES, at_epoch(3)).loss.item()

        slopes[name] = direction, (loss(1e-6) - loss(-1e-6)) / 2e-6
    return slopes


def through_conv4(engine, variant, downsample, **changes):
    network = conv4(filters=3, downsample=downsample)
    return learner(network, images(3), engine=engine, **VARIANTS[variant], **changes)


@pytest.mark.parametrize("downsample", ["max_pool", "stride"])
@pytest.mark.parametrize("variant", ["maml", "mamlpp"])
@pytest.mark.parametrize("engine", ENGINES)
def test_finite_differences_through_conv4(engine, variant, downsample):
    found = through_conv4(engine, variant, downsample)
    gradient = found.meta_gradient(double(found.init(0)), IMAGES, at_epoch(3)).gradient
    expected = differences(variant, downsample)
    assert gradient.keys() == expected.keys()
    for name, (direction, slope) in expected.items():
        component = (gradient[name] * direction).sum().item()
        assert component == pytest.approx(slope, rel=1e-4, abs=1e-7), name


PATHS = [(engine, keep) for engine in ENGINES for keep in ("graph", "inputs")]
PATHS.remove(("loop", "graph"))  # the reference


@functools.cache
def step_of(variant, order, engine, keep):
    settings = VARIANTS[variant] | {"order": order, "inner_steps": 3}
    found = learner(conv4(), images(3), engine=engine, recompute=keep == "inputs", **settings)
    episodes = image_batch(3, 3, 1, 2, images(3))
    return found.meta_gradient(double(found.init(0)), episodes, at_epoch(2))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("engine", "keep"), PATHS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_fast_path_agrees_with_the_loop(engine, keep, variant, order):
    ours, reference = (
        step_of(variant, order, engine, keep),
        step_of(variant, order, "loop", "graph"),
    )
    torch.testing.assert_close(ours.loss, reference.loss, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.gradient, reference.gradient, rtol=1e-8, atol=1e-11)
    torch.testing.assert_close(ours.state, reference.state, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.query_loss, reference.query_loss, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", ["threads", "vmap"])
@pytest.mark.parametrize(
    "form",
    [
        {"norm_gain": False, "norm_eps": 1e-3},
        {"downsample": "max_pool_same", "norm_eps": 1e-3},
        {"downsample": "stride", "features": "mean", "norm_gain": False, "head_init": "normal"},
    ],
    ids=["no gain", "same", "strides"],
)
def test_engines_agree_on_every_form_of_the_network(form, engine):
    source, results = images(ways=3, side=20), []
    episodes = image_batch(2, 3, 1, 2, source)
    for name in ("loop", engine):
        found = learner(conv4(**form), source, engine=name, bn_stats="running", **MAMLPP)
        params = double(found.init(0))
        step = found.meta_gradient(params, episodes, at_epoch(2))
        outputs = [
            found.predict(params, episodes, evaluated(range(3), mode))
            for mode in get_args(BatchNormStats)
        ]
        results.append((step.gradient, step.state, outputs))
    torch.testing.assert_close(*results, rtol=1e-8, atol=1e-11)
