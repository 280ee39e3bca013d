"""The block with a derivative of its own, against finite differences and torch's own operations."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import grad, gradcheck, gradgradcheck

from maml_cli.engines import fused

EPS = 1e-3
NAMES = ("x", "kernel", "gain", "bias")
GAINS = torch.tensor([0.7, -1.3, 1.6, -0.4], dtype=torch.float64)


def inputs(constants=(), channels=3, size=(6, 5)):
    """A batch, a kernel, gains of both signs and biases; those named are constants."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    values = (normal(2, channels, *size), normal(4, channels, 3, 3), GAINS.clone(), normal(4))
    return [v.requires_grad_(n not in constants) for n, v in zip(NAMES, values, strict=True)]


def fused_block(*given):
    return fused.block(*given, EPS)[0]


def composite(x, kernel, gain, bias):
    c = F.conv2d(x, kernel, padding=1)
    return F.max_pool2d(F.batch_norm(c, None, None, gain, bias, training=True, eps=EPS), 2)


def derivatives(block, given):
    """To second order, as MAML takes them: a step, and the gradient of what is found after it."""
    learned = [t for t in given if t.requires_grad]
    loss = block(*given).pow(3).sum()
    gradient = grad(loss, learned, create_graph=True)
    moved = iter([t - 0.1 * g for t, g in zip(learned, gradient, strict=True)])
    after = block(*(next(moved) if t.requires_grad else t for t in given)).sin().sum()
    return *gradient, *grad(after + sum(g.cos().sum() for g in gradient), learned)


@pytest.mark.parametrize("constants", [(), ("x",), ("gain", "bias")])
def test_both_derivatives_are_those_of_finite_differences(constants):
    given = inputs(constants, channels=2, size=(4, 4))
    assert gradcheck(fused_block, given)
    assert gradgradcheck(fused_block, given)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "constants",
    [
        *[(), ("x",), ("kernel",), ("gain",), ("bias",), ("x", "kernel"), ("gain", "bias")],
        *[("kernel", "gain", "bias"), ("x", "kernel", "gain")],
    ],
)
def test_derivatives_are_those_of_torchs_operations(constants, channels):
    given = inputs(constants, channels)
    found, expected = (derivatives(block, given) for block in (fused_block, composite))
    torch.testing.assert_close(found, expected)


def test_a_gradient_that_nothing_differentiates_is_the_same():
    given = inputs()
    found = grad(fused_block(*given).pow(3).sum(), given)
    torch.testing.assert_close(found, grad(composite(*given).pow(3).sum(), given))


def test_a_linear_loss_is_differentiated_twice():
    """Its gradient depends on the inputs alone: the second derivative has nothing for y itself."""
    given = inputs()

    def second(block):
        gradient = grad(block(*given).sum(), given, create_graph=True)
        return grad(sum(g.square().sum() for g in gradient), given[:2], allow_unused=True)

    torch.testing.assert_close(second(fused_block), second(composite))


def test_a_third_derivative_is_refused():
    x, kernel, gain, bias = inputs(("x", "gain", "bias"))
    loss = fused_block(x, kernel, gain, bias).pow(3).sum()
    (gradient,) = grad(loss, kernel, create_graph=True)
    with pytest.raises(RuntimeError, match="engine=loop"):
        grad(gradient.square().sum(), kernel, create_graph=True)
