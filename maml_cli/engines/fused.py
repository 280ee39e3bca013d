"""Convolution, batch norm and max-pooling of a block, with a lean second derivative, for the CPU.

The composite of torch's operations differentiates twice into dozens of passes over full-size
tensors, and those passes, not the arithmetic, take most of the time. Here only the convolution's
output c and its cotangent stay full-size: normalisation is per channel and increasing, so pooling
may come first, and sums over the sparse cotangent of the pooling take a quarter of the values.

Everything is channels-last, in which torch's CPU pooling is many times faster.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

LAYOUT = torch.channels_last


def _convolution_gradients(
    cotangent: Tensor, x: Tensor, kernel: Tensor, wanted: list[bool]
) -> tuple[Tensor, Tensor]:
    x_bar, kernel_bar, _ = torch.ops.aten.convolution_backward(
        cotangent, x, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [*wanted, False]
    )
    return x_bar, kernel_bar


class Convolve(Function):
    """`convolve(x, kernel)`: 3x3, stride 1, padding 1, no bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return F.conv2d(x, kernel, padding=1)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        x, kernel = ctx.saved_tensors
        return _ConvolveBackward.apply(cotangent, x, kernel, ctx.needs_input_grad[0])


class _ConvolveBackward(Function):
    """Gradients of x (if wanted) and of the kernel.

    torch derives the kernel's part as a convolution with a kernel as large as the image; written as
    the three plain convolution kernels it is cheaper.
    """

    @staticmethod
    def forward(
        ctx: Any, cotangent: Tensor, x: Tensor, kernel: Tensor, x_wanted: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cotangent, x, kernel)
        ctx.set_materialize_grads(False)
        return _convolution_gradients(cotangent, x, kernel, [x_wanted, True])

    @staticmethod
    def backward(ctx: Any, to_x: Tensor | None, to_kernel: Tensor | None) -> tuple[Any, ...]:
        cotangent, x, kernel = ctx.saved_tensors
        cotangent_bar, x_bar, kernel_bar = [], None, None
        if to_kernel is not None:
            to_kernel = to_kernel.contiguous(memory_format=LAYOUT)
            cotangent_bar.append(F.conv2d(x, to_kernel, padding=1))
            if ctx.needs_input_grad[1]:
                x_bar, _ = _convolution_gradients(cotangent, x, to_kernel, [True, False])
        if to_x is not None:
            cotangent_bar.append(F.conv2d(to_x, kernel, padding=1))
            _, kernel_bar = _convolution_gradients(cotangent, to_x, kernel, [False, True])
        return sum(cotangent_bar[1:], start=cotangent_bar[0]), x_bar, kernel_bar, None


class NormaliseAndPool(Function):
    """`p = max_pool((c - mean) / sqrt(var + eps))`, with `mean` and the biased `var`.

    c is `(batch, channels, height, width)`; the statistics are per channel and carry no gradient of
    their own.
    """

    @staticmethod
    def forward(ctx: Any, c: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        # torch's batch-norm kernels sum naively in this layout: a hundred times the rounding error
        mean = c.mean((0, 2, 3))
        var = (c - per_channel(mean)).square_().mean((0, 2, 3))
        inv_std = (var + eps).rsqrt()
        peaks, index = F.max_pool2d(c, 2, return_indices=True)
        pooled = peaks.sub_(per_channel(mean)).mul_(per_channel(inv_std))
        ctx.save_for_backward(c, mean, inv_std, pooled, index)
        ctx.mark_non_differentiable(mean, var)
        ctx.set_materialize_grads(False)
        return pooled, mean, var

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor, *_: None) -> tuple[Tensor, None]:
        c, mean, inv_std, pooled, index = ctx.saved_tensors
        return _NormaliseAndPoolBackward.apply(cotangent, c, mean, inv_std, pooled, index), None


class _NormaliseAndPoolBackward(Function):
    """`r (S g - mean(g) - z mean(g p))`, where z is c normalised and r = 1/std.

    S puts a cotangent g at its peak. Means are sums over the pooled values divided by the number of
    unpooled ones, n.
    """

    @staticmethod
    def forward(
        ctx: Any,
        cotangent: Tensor,
        c: Tensor,
        mean: Tensor,
        inv_std: Tensor,
        pooled: Tensor,
        index: Tensor,
    ) -> Tensor:
        n = c.numel() // c.shape[1]
        cotangent_mean = _sum(cotangent) / n
        along_mean = _sum(cotangent * pooled) / n
        ctx.save_for_backward(
            cotangent, c, mean, inv_std, pooled, index, cotangent_mean, along_mean
        )
        # - r z mean(g p) - r mean(g) is linear in c
        tilt = -inv_std.square() * along_mean
        level = -inv_std * cotangent_mean - tilt * mean
        out = torch.addcmul(per_channel(level), c, per_channel(tilt))
        return out.add_(_at_peaks(cotangent * per_channel(inv_std), c, index))

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Any, ...]:
        """By the product rule over r, z and g, with k = mean(u z) and T = d(u . out)/dr.

        `g_bar = r (S' u - mean(u) - p k)` and `c_bar = r^2 (-mean(g p) u - k S g
        + mean(g p) mean(u) + k mean(g) + z (2 k mean(g p) - T / n))`.
        """
        cotangent, c, mean, inv_std, pooled, index, cotangent_mean, along_mean = ctx.saved_tensors
        n = c.numel() // c.shape[1]
        u = u.contiguous(memory_format=LAYOUT)
        u_mean = _sum(u) / n
        k = inv_std * (_sum(u * c) / n - mean * u_mean)
        u_peaks = _from_peaks(u, index)
        cotangent_bar = torch.addcmul(u_peaks - per_channel(u_mean), pooled, per_channel(-k))
        cotangent_bar.mul_(per_channel(inv_std))
        square = inv_std.square()
        t_mean = _sum(u_peaks * cotangent) / n - u_mean * cotangent_mean - k * along_mean
        tilt = square * inv_std * (2 * k * along_mean - t_mean)
        level = square * (along_mean * u_mean + k * cotangent_mean) - tilt * mean
        c_bar = _at_peaks(cotangent * per_channel(-square * k), c, index)
        c_bar.addcmul_(u, per_channel(-square * along_mean))
        c_bar.addcmul_(c, per_channel(tilt)).add_(per_channel(level))
        return cotangent_bar, c_bar, None, None, None, None


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


def _sum(values: Tensor) -> Tensor:
    return values.sum((0, 2, 3))


def _at_peaks(pooled: Tensor, like: Tensor, index: Tensor) -> Tensor:
    """Zeros like the unpooled tensor, with each pooled value at the place of its peak."""
    unpooled: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        pooled, like, [2, 2], [2, 2], [0, 0], [1, 1], False, index
    )
    return unpooled


def _from_peaks(values: Tensor, index: Tensor) -> Tensor:
    """The values at the places of the peaks."""
    by_place, places = (t.permute(0, 2, 3, 1).flatten(1, 2) for t in (values, index))
    batch, channels, height, width = index.shape
    return by_place.gather(1, places).view(batch, height, width, channels).permute(0, 3, 1, 2)


def without_sign(kernel: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel times the sign of the gain, in `LAYOUT`, and that sign.

    Pooling may precede a normalisation that increases; where a gain is negative, kernel and gain
    both change sign.
    """
    sign = torch.copysign(torch.ones_like(gain), gain.detach())
    return (kernel * sign.view(-1, 1, 1, 1)).contiguous(memory_format=LAYOUT), sign


def block(
    x: Tensor, kernel: Tensor, gain: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`max_pool(batch_norm(convolve(x, kernel)))`, and the batch's mean and biased variance.

    Twice differentiable by reverse mode; not for functional transforms.
    """
    signed, sign = without_sign(kernel, gain)
    c = Convolve.apply(channels_last(x), signed)
    pooled, mean, var = NormaliseAndPool.apply(c, eps)
    y = torch.addcmul(per_channel(bias), pooled, per_channel(gain * sign))
    return y, mean * sign, var
