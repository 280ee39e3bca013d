"""The block of a look at the queries, computed a few examples at a time, against torch's own."""

import pytest
import torch

from maml_cli.core.norms import BatchStats
from maml_cli.engines import fused_answer
from maml_cli.engines.fused_images import Seen
from maml_cli.engines.fused_norm import FusedBatchStats


def inputs(channels):
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    params = {
        **{"b.conv.weight": normal(4, channels, 3, 3), "b.conv.bias": normal(4)},
        **{"b.norm.weight": normal(4), "b.norm.bias": normal(4)},  # a gain may be negative
    }
    return 5 + normal(7, channels, 9, 8), params


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("examples", [1, 2, 7])
def test_the_parts_give_the_whole(monkeypatch, channels, examples):
    x, params = inputs(channels)
    monkeypatch.setattr(fused_answer, "NUMBERS_AT_ONCE", examples * 4 * 9 * 8)
    found, reference = FusedBatchStats(Seen()), BatchStats()
    y = found.conv_and_pool("b", x, params)
    torch.testing.assert_close(y, reference.conv_and_pool("b", x, params))
    for name, expected in reference.statistics.items():
        torch.testing.assert_close(found.statistics[name], expected)


def test_a_block_that_learns_keeps_its_derivative(monkeypatch):
    """By the other block: this one has none."""
    monkeypatch.setattr(fused_answer, "block", None)
    x, params = inputs(3)
    params["b.conv.weight"].requires_grad_()
    y = FusedBatchStats(Seen()).conv_and_pool("b", x, params).square().sum()
    (gradient,) = torch.autograd.grad(y, [params["b.conv.weight"]])
    reference = BatchStats().conv_and_pool("b", x, params).square().sum()
    (expected,) = torch.autograd.grad(reference, [params["b.conv.weight"]])
    torch.testing.assert_close(gradient, expected)
