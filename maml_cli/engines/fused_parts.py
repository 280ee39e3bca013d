"""What the blocks of `engines/fused.py` and its neighbours are made of.

Tensors are channels-last; what is per channel has the shape `(1, channels, 1, 1)`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

X = TypeVar("X")
Block = Callable[[X, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]
"""Of inputs, kernel, gain, bias and epsilon; gives outputs, and the batch's mean and variance."""
LAYOUT = torch.channels_last


def convolution_gradients(
    cotangent: Tensor, x: Tensor, kernel: Tensor, wanted: tuple[bool, bool]
) -> tuple[Any, Any]:
    """The cotangents of x and of the kernel, or None where not wanted, from that of the outputs.

    torch derives the kernel's part a second time as a convolution with a kernel as large as the
    image; here that is one of the three plain convolution kernels.
    """
    if not any(wanted):
        return None, None
    x_bar, kernel_bar, _ = torch.ops.aten.convolution_backward.default(
        cotangent, x, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [*wanted, False]
    )
    return x_bar, kernel_bar


def channels_last(x: Tensor) -> Tensor:
    """The same values in `LAYOUT`."""
    x = x.contiguous(memory_format=LAYOUT)
    if x.shape[1] > 1:
        return x
    # With one channel both layouts hold the same values in the same order, and torch would take it
    # for the other one: the strides must tell.
    _, _, height, width = x.shape
    return x.as_strided(x.shape, (height * width, 1, width, 1))


def per_channel(values: Tensor) -> Tensor:
    """`(channels,)`, to be combined with `(batch, channels, height, width)`."""
    return values.view(1, -1, 1, 1)


def sum_of(values: Tensor) -> Tensor:
    """Per channel."""
    return values.sum((0, 2, 3), keepdim=True)


def mean_of(values: Tensor) -> Tensor:
    """Per channel."""
    return sum_of(values).mul_(values.shape[1] / values.numel())


def of_any_gain(block: Block[X]) -> Block[X]:
    """The same block for gains of any sign.

    Blocks pool before they normalise, which is the same where the normalisation increases. With a
    negative gain it is the increasing one of the opposite kernel.
    """

    @wraps(block)
    def block_of_any_gain(
        x: X, kernel: Tensor, gain: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        values = not gain.is_meta  # without values, of a gain of any sign
        if values and not (gain < 0).any():
            return block(x, kernel, gain, bias, eps)
        sign = torch.copysign(torch.ones_like(gain), gain)
        y, mean, var = block(x, kernel * sign.view(-1, 1, 1, 1), gain * sign, bias, eps)
        return y, mean * sign, var

    return block_of_any_gain


def at_peaks(pooled: Tensor, like: Tensor, index: Tensor) -> Tensor:
    """Zeros like the unpooled tensor, with each pooled value at the place of its peak."""
    unpooled: Tensor = torch.ops.aten.max_pool2d_with_indices_backward.default(
        pooled, like, [2, 2], [2, 2], [0, 0], [1, 1], False, index
    )
    return unpooled


def from_peaks(values: Tensor, index: Tensor) -> Tensor:
    """The values at the places of the peaks."""
    by_place, places = (t.permute(0, 2, 3, 1).flatten(1, 2) for t in (values, index))
    batch, channels, height, width = index.shape
    return by_place.gather(1, places).view(batch, height, width, channels).permute(0, 3, 1, 2)
