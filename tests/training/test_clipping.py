"""Meta-gradients that are too large, by hand: a 3-4-5 triangle over two tensors."""

import pytest
import torch

from maml_cli.training.clipping import clip


def gradients_after(**limits):
    tensors = [torch.zeros(1), torch.zeros(1)]
    for tensor, gradient in zip(tensors, (3.0, -4.0), strict=True):
        tensor.grad = torch.tensor([gradient])
    clip(tensors, **{"by_value": None, "by_norm": None} | limits)
    return [tensor.grad.item() for tensor in tensors]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (3, -4)),
        ({"by_value": 3.5}, (3, -3.5)),
        ({"by_norm": 1.0}, (0.6, -0.8)),  # one length for all tensors, not one for each
        ({"by_norm": 6.0}, (3, -4)),
        ({"by_value": 3.0, "by_norm": 1.0}, (0.707107, -0.707107)),  # the values first
    ],
)
def test_limits(limits, expected):
    assert gradients_after(**limits) == pytest.approx(expected, abs=1e-5)
