"""The block with a derivative of its own, against finite differences and torch's own operations."""

import pytest
import torch
from blocks import EPS, composite, derivatives, inputs
from torch.autograd import grad, gradcheck, gradgradcheck

from maml_cli.engines import fused


def fused_block(*given):
    return fused.block(*given, EPS)[0]


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
