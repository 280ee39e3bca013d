"""LLAMA's Laplace term against values from paper and pencil and a dense determinant."""

import math

import pytest
import torch
from problems import FakeSource, Line, at_epoch, built, points, shipped

from maml_cli.core.likelihood import CLASSES
from maml_cli.inner.laplace import log_det


class Square(Line):
    """It answers `w^2 / sqrt(2)`, so that half its squared error from 0 is `w^4 / 4`."""

    start = (1.0,)

    def head(self, params, features):
        return params["head.weight"].square() / math.sqrt(2) * features


def step(network, episode, **changes):
    """Outer loss and meta-gradient of the one weight, after one inner step."""
    fields = {"inner_steps": 1, "inner_lr": 0.05, "adapts": ["body", "head"]} | changes
    learner = built(shipped("algo", "llama", **fields), network, FakeSource())
    found = learner.meta_gradient(learner.init(0), episode, at_epoch(0))
    return found.loss.item(), found.gradient["model.head.weight"].item()


def term(network, episode):
    """What eta = 1/2 and tau = 1 add to both."""
    added = step(network, episode, laplace_weight=0.5, damping=1.0)
    plain = step(network, episode, laplace_weight=0.0, damping=1.0)
    return [a - p for a, p in zip(added, plain, strict=True)]


def test_one_example_and_one_weight():
    """Of input 2 and slope 3: `log(36 + tau) - log tau`."""
    found = log_det({"w": torch.tensor([[6.0]])}, 0.001).item()
    assert found == pytest.approx(math.log(36.001) - math.log(0.001))


def test_the_low_rank_form_is_the_dense_determinant():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(5, 40, generator=generator, dtype=torch.float64)
    dense = torch.logdet(0.1 * torch.eye(40, dtype=torch.float64) + rows.T @ rows)
    parts = {"a": rows[:, :12].reshape(5, 3, 4), "b": rows[:, 12:]}
    assert log_det(parts, 0.1).item() == pytest.approx(dense.item() - 40 * math.log(0.1))


def test_the_curvature_of_classes_is_the_softmaxs_hessian():
    logits = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    root = CLASSES.curvature_root(logits)
    label = torch.tensor([1])
    hessian = torch.autograd.functional.hessian(lambda z: -CLASSES.log_p(z, label).sum(), logits)
    torch.testing.assert_close(root @ root.transpose(-1, -2), hessian[0, :, 0].unsqueeze(0))


def test_on_a_quadratic_the_term_is_a_constant():
    """Inputs of sqrt(3) give the curvature 3: `log(3 + 1) / 2`, whatever the weight."""
    loss, gradient = term(Line(), points((2.0, 2.0), x=math.sqrt(3)))
    assert loss == pytest.approx(0.693147, abs=1e-5)
    assert gradient == pytest.approx(0.0, abs=1e-5)


def test_the_term_is_differentiated_through_the_inner_step():
    """`U = w^4 / 4` takes w from 1 to 0.9, where J^2 = 2 w^2 = 1.62; `dphi/dtheta` is 0.7.

    The exact Hessian, 3 w^2, would give 0.616280 and 0.551020.
    """
    loss, gradient = term(Square(), points((0.0, 0.0)))
    assert loss == pytest.approx(0.5 * math.log(2.62), abs=1e-6)
    assert gradient == pytest.approx(0.5 * 4 * 0.9 / 2.62 * 0.7, abs=1e-5)
