"""The block whose input is images, against torch's own operations and finite differences."""

import pytest
import torch
import torch.nn.functional as F
from blocks import EPS, composite, derivatives, inputs
from torch.autograd import gradcheck, gradgradcheck

from maml_cli.core.norms import BatchStats
from maml_cli.engines import fused_images
from maml_cli.engines.fused_images import KEPT, Seen, patches_of
from maml_cli.engines.fused_norm import FusedBatchStats


def on_images(x, *others):
    return fused_images.block(patches_of(x), *others, EPS)[0]


def test_both_derivatives_are_those_of_finite_differences():
    x, *learned = inputs(("x",), channels=2, size=(4, 4))
    assert gradcheck(lambda *given: on_images(x, *given), learned)
    assert gradgradcheck(lambda *given: on_images(x, *given), learned)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("constants", [("x",), ("x", "kernel"), ("x", "gain", "bias")])
def test_derivatives_are_those_of_torchs_operations(constants, channels):
    given = inputs(constants, channels)
    found, expected = (derivatives(block, given) for block in (on_images, composite))
    torch.testing.assert_close(found, expected)


def test_the_statistics_of_patches_by_hand():
    """Of the single row `1 2`, whose two patches hold `0 1 2` and `1 2 0` in their middle row."""
    found = patches_of(torch.tensor([[[[1.0, 2.0]]]]))
    mean, covariance = torch.zeros(9), torch.zeros(9, 9)
    mean[3:6] = torch.tensor([0.5, 1.5, 1.0])
    half = torch.tensor([0.5, 0.5, -1.0])  # half of the difference of the two
    covariance[3:6, 3:6] = torch.outer(half, half)
    torch.testing.assert_close(found.mean, mean.double())
    torch.testing.assert_close(found.covariance, covariance.double())


def test_the_parts_of_many_images_give_the_whole(monkeypatch):
    x = inputs()[0].detach().repeat(3, 1, 1, 1)
    whole = patches_of(x)
    monkeypatch.setattr(fused_images, "NUMBERS_AT_ONCE", 1)
    torch.testing.assert_close(patches_of(x), whole)


def test_smooth_images_lose_no_digits():
    """The variance is a hundred thousandth of a patch's: single precision would keep two digits."""
    wave = torch.linspace(0, torch.pi, 64, dtype=torch.float64).sin().square()
    x = 100 * torch.outer(wave, wave).view(1, 1, 64, 64)
    kernel = torch.zeros(9, 1, 3, 3, dtype=torch.float64)
    kernel[:, 0, 1] = torch.tensor([1, -2, 1])
    expected = F.conv2d(x, kernel, padding=1).var((0, 2, 3), correction=0)
    assert expected[0] < 1e-4 * x.var()
    gain, bias = torch.ones(9), torch.zeros(9)
    found = fused_images.block(patches_of(x.float()), kernel.float(), gain, bias, EPS)[2]
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=0)


def passes(norm, x, params):
    norm.conv_and_pool("b", x, params)
    return norm


@pytest.mark.parametrize(("channels", "times"), [(1, 6), (3, 4)])
def test_images_seen_again_are_computed_by_their_patches(monkeypatch, channels, times):
    """Of one channel at first sight, too."""
    used = []
    block = fused_images.block
    monkeypatch.setattr(
        fused_images, "block", lambda *given: used.append(given[0]) or block(*given)
    )
    generator = torch.Generator().manual_seed(3)
    params = {
        "b.conv.weight": torch.randn(27, channels, 3, 3, generator=generator).requires_grad_(),
        "b.conv.bias": torch.randn(27, generator=generator),
    }
    support, queries = torch.rand(2, 5, channels, 6, 6, generator=generator)
    seen = Seen()
    for _ in range(3):
        for x in (support, queries):
            found = passes(FusedBatchStats(seen), x[:], params).statistics  # a view of the same
            torch.testing.assert_close(found, passes(BatchStats(), x, params).statistics)
    assert len(used) == times
    assert used[-3] is used[-1]  # computed once
    support.add_(1)
    found = passes(FusedBatchStats(seen), support, params).statistics
    torch.testing.assert_close(found, passes(BatchStats(), support, params).statistics)


def test_images_that_are_drawn_anew_are_forgotten():
    seen = Seen()
    drawn = [torch.rand(2, 3, 6, 6) for _ in range(3 * KEPT)]
    assert [seen.patches(x) for x in drawn] == [None] * len(drawn)
    assert seen.patches(drawn[0]) is None
    assert seen.patches(drawn[-1]) is not None


@pytest.mark.parametrize("filters", [8, 9])
def test_only_patches_smaller_than_the_outputs_are_worth_it(monkeypatch, filters):
    asked = []
    monkeypatch.setattr(Seen, "patches", lambda _, x: asked.append(x))
    params = {"b.conv.weight": torch.rand(filters, 1, 3, 3, requires_grad=True)}
    params["b.conv.bias"] = torch.zeros(filters)
    passes(FusedBatchStats(Seen()), torch.rand(2, 1, 6, 6), params)
    assert len(asked) == (filters == 9)


def test_inputs_with_a_derivative_are_no_images():
    seen = Seen()
    params = {"b.conv.weight": torch.rand(9, 1, 3, 3), "b.conv.bias": torch.zeros(9)}
    x = torch.rand(2, 1, 6, 6, requires_grad=True)
    for _ in range(2):
        norm = FusedBatchStats(seen)
        (gradient,) = torch.autograd.grad(norm.conv_and_pool("b", x, params).square().sum(), [x])
        assert gradient.any()
