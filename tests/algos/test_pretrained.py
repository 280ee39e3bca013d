"""The baselines for regression against what can be derived about sine waves."""

import math
from dataclasses import replace

import pytest
import torch
from problems import FakeSource, Line, Toy, at_epoch, built, composed, evaluated, points, shipped

W = "model.head.weight"


class Cosine(Toy):
    """A network that answers w * cos(x): the family that holds the best task-agnostic answer."""

    # A sin(x - phase) has mean E[A] * (-2/pi) cos x for phases uniform in [0, pi], and
    # E[A] = (0.1 + 5) / 2.
    start = (-2.55 * 2 / math.pi,)

    def features(self, params, x, norm):
        return x.cos()


class Sine(Toy):
    """The oracle's answer from x, amplitude and phase, times a weight that should be 1."""

    start = (1.0,)

    def features(self, params, x, norm):
        points, amplitude, phase = x.split(1, dim=-1)
        return amplitude * (points - phase).sin()


def sines(*, reveal):
    run = replace(composed("dataset=sinusoid").run, ways=1, shots=10, queries=1, train_queries=None)
    return shipped("dataset", "sinusoid", reveal=reveal).load(run, torch.device("cpu"))


def pretrained(network, source, engine="loop", **changes):
    fields = {"inner_steps": 2, "inner_lr": 0.1} | changes
    return built(shipped("algo", "pretrained", **fields), network, source, engine)


@pytest.mark.parametrize("engine", ["loop", "threads", "vmap"])
def test_the_gradient_is_that_of_all_examples_before_any_step(engine):
    # w = 3: 2 (w - y) for the support at 1 and 0 and the queries at 2 and 5
    found = pretrained(Line(), FakeSource(), engine)
    step = found.meta_gradient(found.init(0), points((1.0, 2.0), (0.0, 5.0)), at_epoch(0))
    assert step.gradient[W].item() == pytest.approx((4 + 6 + 2 - 4) / 4)
    assert step.loss.item() == pytest.approx((4 + 9 + 1 + 4) / 4)
    assert step.query_loss.tolist() == pytest.approx([(1 + 4) / 2])
    assert step.query_steps == (0,)


def test_evaluation_fine_tunes():
    found = pretrained(Line(), FakeSource())
    outputs = found.predict(found.init(0), points((1.0, 9.0)), evaluated(range(3), "batch"))
    torch.testing.assert_close(outputs.flatten(), torch.tensor([3.0, 2.6, 2.28]))


def test_the_best_task_agnostic_prediction_is_the_floor():
    """Its error is `E[A^2] / 2 - (2 E[A] / pi)^2 E[cos^2 x]`, and there the gradient vanishes.

    E[A^2] = (5^3 - 0.1^3) / (3 * 4.9) = 8.503333, E[sin^2] = 1/2 over half a period of phases,
    E[cos^2 x] = 1/2 + sin(10) / 20 = 0.472799 over [-5, 5]: 4.251667 - 2.635400 * 0.472799.
    """
    source = sines(reveal=False)
    found = pretrained(Cosine(), source, "vmap")
    step = found.meta_gradient(found.init(0), source.episodes("train", 0, 40_000), at_epoch(0))
    # A task's loss deviates by about 3, its gradient by about 2: five standard errors at 40,000.
    assert step.loss.item() == pytest.approx(3.0057, abs=0.075)
    assert step.gradient[W].item() == pytest.approx(0, abs=0.05)


def test_without_pretraining_nothing_moves():
    found = pretrained(Line(), FakeSource(), pretrain=False)
    params = found.init(0)
    optimizer = found.algorithm.optimizer(list(params.theta.values()))
    params.theta[W].grad = found.meta_gradient(params, points((1.0, 2.0)), at_epoch(0)).gradient[W]
    optimizer.param_groups[0]["lr"] = found.algorithm.outer_lr(at_epoch(0))
    optimizer.step()
    assert params.theta[W].item() == 3.0


def test_the_oracle_can_be_without_error():
    """Inputs that tell amplitude and phase leave nothing unknown: error and gradient are zero."""
    source = sines(reveal=True)
    found = pretrained(Sine(), source, "vmap")
    step = found.meta_gradient(found.init(0), source.episodes("train", 0, 500), at_epoch(0))
    assert step.loss.item() == pytest.approx(0, abs=1e-10)
    assert step.query_metric.item() == pytest.approx(0, abs=1e-10)
    assert step.gradient[W].item() == pytest.approx(0, abs=1e-5)


def test_the_oracle_meets_the_waves_that_the_others_meet():
    plain, revealed = (sines(reveal=r).episodes("test", 7, 3) for r in (False, True))
    assert torch.equal(plain.query_y, revealed.query_y)
    assert torch.equal(plain.support_x, revealed.support_x[..., :1])
