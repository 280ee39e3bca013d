"""Inner optimisers and the proximal term: on paper, against torch's own, by finite differences.

The quadratic: the network answers w * x with x = 1, the loss is the squared error, so with support
target s and query target q a step's gradient is g = 2 (w - s). The numbers below have w = 3, s = 1,
q = 2, rates a_1 = a_2 = 0.1, and two inner steps: the outer loss is (w_2 - 2)^2.
"""

import functools

import pytest
import torch
import torch.nn.functional as F
from problems import (
    FakeSource,
    Line,
    Linear,
    at_epoch,
    built,
    double,
    evaluated,
    image_batch,
    images,
    learner,
    points,
    shipped,
)

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.norms import BatchStats

W, RATE = "model.head.weight", "inner_lr.head.weight"
ENGINES = ["loop", "threads", "vmap", "graph"]


def wide(episodes):
    """In float64."""
    return type(episodes)(*(f.double() if f.is_floating_point() else f for f in episodes))


def meta_gradient(episodes, engine="loop", **changes):
    found = learner(Line(), FakeSource(), engine=engine, lslr=True, **changes)
    params = double(found.init(0))
    params.theta[RATE].fill_(0.1)  # exactly
    return found.meta_gradient(params, wide(episodes), at_epoch(0))


MOMENTUM = {"inner_optimizer": "momentum"}
# v_1 = g_1 = 4, w_1 = 3 - 0.4 = 2.6; v_2 = 0.9 * 4 + 3.2 = 6.8, w_2 = 2.6 - 0.68 = 1.92.
# The loss is 0.08^2, its slope at w_2 is -0.16.
# dw_1/dw = 1 - 0.2 = 0.8, dv_2/dw = 0.9 * 2 + 2 * 0.8 = 3.4, dw_2/dw = 0.8 - 0.34 = 0.46.
# dw_2/da_2 = -v_2 = -6.8; dw_1/da_1 = -4, dv_2/da_1 = 2 * -4, dw_2/da_1 = -4 + 0.8 = -3.2.
# Of first order v_2 is a constant: dw_2/dw = 1 and dw_2/da_1 = -4.
ADAM = {"inner_optimizer": "adam"}
# Step 1: m = 0.4, v = 0.016; m / 0.1 = 4, v / 0.001 = 16, so the direction is 1: w_1 = 2.9.
# Step 2: g = 3.8; m = 0.36 + 0.38 = 0.74, / 0.19 = 3.8947368; v = 0.015984 + 0.01444 = 0.030424,
# / 0.001999 = 15.2196098, its root r = 3.9012318: w_2 = 2.9 - 0.1 * 0.99833514 = 2.80016649.
# The slope of the loss at w_2 is 2 * 0.80016649 = 1.60033297.
# dw_1/dw = 1, for a first direction is a sign. d(m/0.19)/dw = (0.09 * 2 + 0.1 * 2) / 0.19 = 2,
# d(v/0.001999)/dw = (0.999 * 2 * 4 * 2 + 2 * 3.8 * 2) / 1.999 = 31.184 / 1.999 = 15.5998, so
# dr/dw = 15.5998 / (2 r) = 1.9993429, and the direction's slope is
# (2 - 0.99833514 * 1.9993428) / r = 0.0010217: dw_2/dw = 1 - 0.00010217 = 0.99989783.
# dw_2/da_2 = -0.99833514; dw_1/da_1 = -1, with which g_2 changes by -2, m/0.19 by -0.2/0.19 =
# -1.0526316, v/0.001999 by -2 * 3.8 * 2 / 1.999 = -7.6038019, r by -7.6038019 / (2 r) =
# -0.97453859, the direction by (-1.0526316 + 0.99833514 * 0.97453859) / r = -0.0204334, and w_2 by
# -1 + 0.00204334 = -0.99795666.
PROXIMAL = {"proximal": 0.5}
# phi <- phi - a (g + l (phi - w)). w_1 = 3 - 0.1 * 4 = 2.6, w_2 = 2.6 - 0.1 * (3.2 - 0.5 * 0.4)
# = 2.3. The loss is 0.3^2, its slope 0.6. dw_1/dw = 0.8,
# dw_2/dw = 0.8 - 0.1 * (2 * 0.8 + 0.5 * (0.8 - 1)) = 0.65.
# dw_2/da_2 = -3; dw_1/da_1 = -4, dw_2/da_1 = -4 - 0.1 * (2 + 0.5) * -4 = -3.
ON_PAPER = [
    # loss and its slopes along w, a_1 and a_2
    (MOMENTUM, 2, 0.0064, -0.16 * 0.46, 0.16 * 3.2, 0.16 * 6.8),
    (MOMENTUM, 1, 0.0064, -0.16, 0.16 * 4, 0.16 * 6.8),
    (ADAM, 2, 0.64026641, 1.60033297 * 0.99989783, -1.60033297 * 0.99795666, -1.59766865),
    (ADAM, 1, 0.64026641, 1.60033297, -1.60033297, -1.59766865),
    (PROXIMAL, 2, 0.09, 0.6 * 0.65, -0.6 * 3, -0.6 * 3),
    (PROXIMAL, 1, 0.09, 0.6, -0.6 * 4, -0.6 * 3),
]


@pytest.mark.parametrize(
    ("engine", "recompute"), [*((engine, False) for engine in ENGINES), ("loop", True)]
)
@pytest.mark.parametrize(("changes", "order", "loss", "to_w", "to_first", "to_second"), ON_PAPER)
def test_meta_gradients_of_a_quadratic(
    changes, order, loss, to_w, to_first, to_second, engine, recompute
):
    step = meta_gradient(
        points((1.0, 2.0)), engine, order=order, recompute=recompute, inner_steps=2, **changes
    )
    assert step.loss.item() == pytest.approx(loss, rel=1e-7)
    assert step.gradient[W].item() == pytest.approx(to_w, rel=1e-7)
    assert step.gradient[RATE].tolist() == pytest.approx([to_first, to_second], rel=1e-7)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gradient_of_exactly_zero_has_a_slope_under_adam(engine):
    # w = s: g = 0, and nothing moves. d/dg of g / (|g| + e) at 0 is 1 / e = 1e8, so
    # dw_1/dw = 1 - 0.1 * 2 * 1e8; the loss is (3 - 2)^2, its slope 2.
    step = meta_gradient(points((3.0, 2.0)), engine, inner_steps=1, **ADAM)
    assert step.loss.item() == 1
    assert step.gradient[W].item() == pytest.approx(2 * (1 - 2e7), rel=1e-6)
    assert step.gradient[RATE].tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # v_3 = 0.9 * 6.8 + 1.84 = 7.96
        (MOMENTUM, [3.0, 2.6, 1.92, 1.124]),
        # g_3 = 2.6, and 0.5 * (2.3 - 3) = -0.35
        (PROXIMAL, [3.0, 2.6, 2.3, 2.075]),
    ],
)
def test_evaluation_goes_on_beyond_the_trained_steps(changes, expected):
    found = learner(Line(), FakeSource(), inner_steps=2, **changes)
    outputs = found.predict(found.init(0), points((1.0, 9.0)), evaluated(range(4), "batch"))
    torch.testing.assert_close(outputs.flatten(), torch.tensor(expected))


SOURCE = images(3, side=4)
BATCH = image_batch(2, 3, 2, 2, SOURCE)
MLP = shipped("backbone", "mlp", hidden=[6, 6], weight_init="uniform")
OF_TORCH = {
    "sgd": lambda phi: torch.optim.SGD(phi, lr=0.1),
    "momentum": lambda phi: torch.optim.SGD(phi, lr=0.1, momentum=0.9),
    "adam": lambda phi: torch.optim.Adam(phi, lr=0.1),
}


@pytest.mark.parametrize("proximal", [0.0, 0.7])
@pytest.mark.parametrize("name", OF_TORCH)
def test_adapted_networks_are_those_of_torch_s_optimisers(name, proximal):
    found = learner(MLP, SOURCE, inner_optimizer=name, proximal=proximal, inner_lr=0.1)
    params, network = double(found.init(0)), MLP.build(SOURCE.input_shape)
    outputs = found.predict(params, BATCH, evaluated((5,), "batch"))[:, 0]
    start = {n.removeprefix("model."): t for n, t in params.theta.items()}
    for task in range(2):
        phi = {n: t.clone().requires_grad_() for n, t in start.items()}
        optimizer = OF_TORCH[name](list(phi.values()))
        for _ in range(5):
            optimizer.zero_grad()
            answers = network.outputs(phi, BATCH.support_x[task], BatchStats())
            loss = F.cross_entropy(answers, BATCH.support_y[task])
            loss = loss + proximal / 2 * sum((phi[n] - start[n]).square().sum() for n in phi)
            loss.backward()
            optimizer.step()
        expected = network.outputs(phi, BATCH.query_x[task], BatchStats()).detach()
        torch.testing.assert_close(outputs[task], expected, rtol=1e-7, atol=1e-9)


RULES = {
    "momentum": MOMENTUM,
    "adam": ADAM,
    "proximal": PROXIMAL,
    "all": {"inner_optimizer": "adam", "proximal": 0.3, "lslr": True, "msl": True},
}


def of_rule(name, engine="loop", **changes):
    fields = {"inner_lr": 0.05, "inner_steps": 3} | RULES[name] | changes
    return learner(MLP, SOURCE, engine=engine, **fields)


@functools.cache
def differences(name):
    """For each meta-parameter a random direction d, and (L(theta + h d) - L(theta - h d)) / 2h."""
    found = of_rule(name, order=1)  # which changes no loss
    params, generator, slopes = double(found.init(0)), torch.Generator().manual_seed(1), {}
    for place, tensor in params.theta.items():
        direction = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)

        def loss(h, place=place, tensor=tensor, direction=direction):
            theta = {**params.theta, place: tensor + h * direction}
            shifted = MetaParameters(theta=theta, state=params.state)
            return found.meta_gradient(shifted, BATCH, at_epoch(3)).loss.item()

        slopes[place] = direction, (loss(1e-6) - loss(-1e-6)) / 2e-6
    return slopes


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("name", RULES)
def test_finite_differences_through_a_network_with_idle_units(name, engine, recompute):
    """Pictures are positive, so some units of a ReLU network are at 0 for all of them."""
    found = of_rule(name, engine, recompute=recompute)
    params = double(found.init(0))
    hidden = BATCH.support_x.flatten(2) @ params.theta["model.body.0.weight"].T
    idle = (hidden + params.theta["model.body.0.bias"] < 0).flatten(0, 1).all(0)
    assert idle.any()
    gradient = found.meta_gradient(params, BATCH, at_epoch(3)).gradient
    for tensor, (direction, slope) in differences(name).items():
        component = (gradient[tensor] * direction).sum().item()
        assert component == pytest.approx(slope, rel=1e-4, abs=1e-8), tensor


class Plain(Linear):
    """Features are the inputs, flattened."""

    def features(self, params, x, norm):
        return x.flatten(1)


def test_fine_tuning_is_pulled_to_its_own_start():
    """A new head starts at 0, so the pull of step 2 is -a l phi_1; outputs are linear in phi."""
    source = images(3, side=1)
    batch = image_batch(1, 3, 1, 2, source)
    plain, pulled = (
        built(shipped("algo", "finetune", inner_lr=0.4, proximal=proximal), Plain(1), source)
        for proximal in (0.0, 0.5)
    )
    params = double(plain.init(0))
    params.theta["model.head.weight"].fill_(7.0)  # of the training classes
    free, held = (
        f.predict(params, batch, evaluated(range(3), "batch"))[0] for f in (plain, pulled)
    )
    torch.testing.assert_close(held[:2], free[:2])
    torch.testing.assert_close(held[2], free[2] - 0.4 * 0.5 * free[1])
