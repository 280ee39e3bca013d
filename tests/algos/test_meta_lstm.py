"""The meta-learner LSTM: single steps on paper, and MAML where its gates are fixed."""

import math
from dataclasses import replace
from functools import partial

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
    learner,
    points,
    shipped,
)

from maml_cli.core.algorithm import MetaParameters
from maml_cli.inner.gated_descent import GatedDescent
from maml_cli.inner.update_rules import InnerStep
from maml_cli.testing import check_algorithm, regression

KEY = torch.zeros(2, dtype=torch.int64)
FREE = {"gradient_scale": "none", "gate_feedback": "preactivation"}


def gated(network, source, *, forget=40.0, rate=0.1, **changes):
    """A learner in float64 whose gates are f = sigmoid(forget) and i = rate."""
    settings = shipped("algo", "meta_lstm", **{**FREE, "inner_steps": 2} | changes)
    found = built(settings, network, source)
    params = double(found.init(0))
    for gate, bias in (("forget", forget), ("input", math.log(rate / (1 - rate)))):
        params.theta[f"optimizer.{gate}.weight"].zero_()
        params.theta[f"optimizer.{gate}.bias"].fill_(bias)
    return found, params


@pytest.mark.parametrize(
    ("feedback", "preactivation"),
    # the input gate's first value is sigmoid(-4.5) = 0.0109869; 0.01 times what was before
    [("preactivation", -4.5 - 0.045), ("gate", -4.5 + 0.000109869)],
)
def test_two_steps_of_one_coordinate_on_paper(feedback, preactivation):
    rule = GatedDescent(units=3, divide=False, feedback=feedback)
    phi = {"c": torch.tensor([1.0], dtype=torch.float64)}
    drawn = rule.init(phi, torch.Generator().manual_seed(0))
    learned = {n: t.double().zero_() for n, t in drawn.items()}
    learned["forget.bias"].fill_(4.5)
    learned["input.bias"].fill_(-4.5)
    learned["input.weight"][-1] = 0.01  # sees its last value alone, which is 0 at first
    at = InnerStep(0, torch.tensor(0.3, dtype=torch.float64), KEY, 5)
    gradient = {"c": torch.tensor([0.5], dtype=torch.float64)}
    phi, memory = rule.step(learned, rule.memory(phi), phi, gradient, at)
    # 0.989013 * 1 - 0.0109869 * 0.5
    assert phi["c"].item() == pytest.approx(0.98351959, abs=1e-7)
    _, memory = rule.step(learned, memory, phi, gradient, at)
    gate = torch.tensor(preactivation, dtype=torch.float64).sigmoid().item()
    assert memory["seen"]["input"][1].item() == pytest.approx(gate, rel=1e-6)
    assert memory["seen"]["forget"].flatten().tolist() == pytest.approx([0.989013] * 2, abs=1e-6)


def test_the_gradient_is_divided_by_the_examples():
    phi = {"c": torch.ones(1)}
    at = InnerStep(0, torch.tensor(0.3), KEY, 5)
    whole, divided = (GatedDescent(units=3, divide=d, feedback="gate") for d in (False, True))
    learned = whole.init(phi, torch.Generator().manual_seed(0))
    moved, _ = divided.step(learned, divided.memory(phi), phi, {"c": torch.tensor([2.0])}, at)
    expected, _ = whole.step(learned, whole.memory(phi), phi, {"c": torch.tensor([0.4])}, at)
    assert torch.equal(moved["c"], expected["c"])


def test_the_start_of_the_weights_is_the_official_codes():
    rule = GatedDescent(units=20, divide=True, feedback="preactivation")
    learned = rule.init({"c": torch.zeros(7)}, torch.Generator().manual_seed(3))
    assert sum(t.numel() for t in learned.values()) == 2046
    assert 4 <= learned["forget.bias"] <= 5
    assert -5 <= learned["input.bias"] <= -4
    others = [t for n, t in learned.items() if n not in ("forget.bias", "input.bias")]
    assert max(t.abs().max() for t in others) <= 0.01


# The network answers c; the losses are (c - s)^2, so a support gradient is 2 (c - s). With half the
# rate this is the quadratic (c - s)^2 / 2 of rate 0.1: c = 3, s = 4, q = 5 are 0, 1, 2 moved by 3.
# c = 3.1, 3.19; the query loss is 1.81^2, its slope at c_2 is -3.62. d c_2/d c_0 is 1 in first
# order and 0.9^2 in second. The gate is i = 0.05, and d c_1/d i = -2 (c_0 - s) = 2. In first order
# d c_2/d i = 2 - 2 (c_1 - s) = 2 + 1.8; in second the 2 is multiplied by d c_2/d c_1 = 0.9.
@pytest.mark.parametrize(
    ("order", "to_c", "to_i"), [(1, -3.62, -3.62 * 3.8), (2, -3.62 * 0.81, -3.62 * 3.6)]
)
def test_a_quadratic_on_paper(order, to_c, to_i):
    found, params = gated(Line(), FakeSource(), rate=0.05, order=order)
    batch = points((4.0, 5.0))
    wide = type(batch)(*(t.double() if t.is_floating_point() else t for t in batch))
    step = found.meta_gradient(params, wide, at_epoch(0))
    assert step.loss.item() == pytest.approx(1.81**2)
    assert step.gradient["model.head.weight"].item() == pytest.approx(to_c)
    to_bias = to_i * 0.05 * 0.95  # the sigmoid's slope
    assert step.gradient["optimizer.input.bias"].item() == pytest.approx(to_bias)


@pytest.mark.parametrize("order", [1, 2])
def test_with_fixed_gates_it_is_maml(order):
    source, network = images(3), conv4(norm_gain=True)
    ours, params = gated(network, source, order=order)
    parts = ["body", "norm", "head"]
    theirs = learner(network, source, order=order, inner_lr=0.1, adapts=parts)
    model = {n: t for n, t in params.theta.items() if n.startswith("model.")}
    batch = image_batch(2, 3, 2, 2, source)
    step = ours.meta_gradient(params, batch, at_epoch(0))
    maml = MetaParameters(theta=model, state={})
    expected = theirs.meta_gradient(maml, batch, at_epoch(0))
    assert step.loss.item() == pytest.approx(expected.loss.item(), rel=1e-10)
    for name, gradient in expected.gradient.items():
        torch.testing.assert_close(step.gradient[name], gradient, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(
        ours.predict(params, batch, evaluated((0, 1, 4), "batch")),
        theirs.predict(maml, batch, evaluated((0, 1, 4), "batch")),
    )


def test_a_constant_forget_gate_shortens_the_first_order_gradient():
    # of first order d phi / d start is f^T, so the gradient is f^T times that of the queries at phi
    found, params = gated(Line(), FakeSource(), forget=2.0)
    f = torch.tensor(2.0, dtype=torch.float64).sigmoid().item()
    batch = points((4.0, 5.0))
    wide = type(batch)(*(t.double() if t.is_floating_point() else t for t in batch))
    c = 3.0
    for _ in range(2):
        c = f * c - 0.1 * 2 * (c - 4)
    step = found.meta_gradient(params, wide, at_epoch(0))
    assert step.gradient["model.head.weight"].item() == pytest.approx(f**2 * 2 * (c - 5))


def test_a_start_that_is_not_learned_has_no_gradient():
    found, params = gated(Line(), FakeSource(), learn_init=False)
    batch = points((4.0, 5.0))
    wide = type(batch)(*(t.double() if t.is_floating_point() else t for t in batch))
    gradient = found.meta_gradient(params, wide, at_epoch(0)).gradient
    assert gradient["model.head.weight"].item() == 0
    assert gradient["optimizer.input.bias"].item() != 0


def test_the_averages_of_the_gates_are_shown():
    found, params = gated(Line(), FakeSource(), forget=2.0, rate=0.25)
    batch = points((4.0, 5.0), (1.0, 2.0))
    wide = type(batch)(*(t.double() if t.is_floating_point() else t for t in batch))
    step = found.meta_gradient(params, wide, at_epoch(0))
    theta = {"model": {"head.weight": params.theta["model.head.weight"]}}
    gates = {n.partition(".")[2]: t for n, t in step.state.items() if n.startswith("gates.")}
    state = {"gates": gates, "updates": {"count": step.state["updates.count"]}}
    shown = found.algorithm.learned_rates(MetaParameters(theta=theta, state=state))
    assert shown == {
        "head.weight forget": [pytest.approx(1 / (1 + math.exp(-2)))] * 2,
        "head.weight input": [pytest.approx(0.25)] * 2,
    }


def meta_lstm(network, source, **changes):
    train = EXPERIMENT.train
    form = shipped("algo", "meta_lstm", **{"inner_steps": 2, "units": 3} | changes)
    return form.build(network, source, train)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_every_engine_computes_it_on_images():
    check_algorithm(meta_lstm)


def test_every_engine_computes_its_second_order_on_curves():
    second = partial(meta_lstm, order=2, recompute=True, gate_feedback="gate")
    check_algorithm(second, regression(), bn_stats=("batch",))


def test_running_statistics_are_refused():
    form = shipped("algo", "meta_lstm")
    train = replace(EXPERIMENT.train, bn_stats="running")
    [message] = form.check(replace(EXPERIMENT, algo=form, train=train))
    assert message.startswith("train.bn_stats=running: algo=meta_lstm gathers no running")
