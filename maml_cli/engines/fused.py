"""Convolution, batch norm and max-pooling of a block, with a lean second derivative, for the CPU.

The composite of torch's operations differentiates twice into dozens of passes over full-size
tensors, and those passes, not the arithmetic, take most of the time. Here only the convolution's
output c and its cotangent stay full-size: normalisation is per channel and increasing, so pooling
may come first, and sums over the sparse cotangent of the pooling take a quarter of the values.

Everything is channels-last, in which torch's CPU pooling is many times faster. What is per channel
has the shape `(1, channels, 1, 1)`.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from maml_cli.engines.fused_parts import (
    at_peaks,
    channels_last,
    convolution_gradients,
    from_peaks,
    mean_of,
    of_any_gain,
    per_channel,
    sum_of,
)


@of_any_gain
def block(
    x: Tensor, kernel: Tensor, gain: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`max_pool(batch_norm(convolve(x, kernel)))`, and the batch's mean and biased variance.

    The convolution is 3x3 with stride 1, padding 1 and no bias. The statistics, `(channels,)`, are
    constants. Twice differentiable by reverse mode; not for functional transforms.
    """
    y, _, mean, var = _Block.apply(channels_last(x), kernel, gain, bias, eps)
    return y, mean, var


class _Pass(NamedTuple):
    """What a pass leaves to its derivatives, beside its inputs and c."""

    mean: Tensor
    inv_std: Tensor
    """r."""
    slope: Tensor
    """r s, where s is the gain."""
    pooled: Tensor
    """p, the peaks of c normalised."""
    places: Tensor
    """Of the peaks."""


class _Block(Function):
    """`y = s p + bias`, where p is z at its peaks, z is c normalised, and c the convolution.

    The gain s is not negative.

    c is an output so that its cotangent from a second derivative meets the one from y: the
    convolution is walked back once for both.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, gain: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        c = F.conv2d(x, kernel, padding=1)
        # torch's batch-norm kernels sum naively in this layout: a hundred times the rounding error
        mean = mean_of(c)
        var = mean_of((c - mean).square_())
        inv_std = (var + eps).rsqrt_()
        peaks, index = F.max_pool2d(c, 2, return_indices=True)
        pooled = peaks.sub_(mean).mul_(inv_std)
        scale = per_channel(gain)
        y = torch.addcmul(per_channel(bias), pooled, scale)
        at = _Pass(mean, inv_std, inv_std * scale, pooled, index)
        ctx.save_for_backward(x, kernel, gain, c, *at)
        ctx.set_materialize_grads(False)
        mean, var = mean.view(-1), var.view(-1)
        ctx.mark_non_differentiable(mean, var)
        return y, c, mean, var

    @staticmethod
    def backward(
        ctx: Any, y_bar: Tensor | None, c_bar: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        x, kernel, gain, c, *rest = ctx.saved_tensors
        at = _Pass(*rest)
        if y_bar is None:
            y_bar = torch.zeros_like(at.pooled)
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # somebody will differentiate the derivative
            return *_BlockBackward.apply(y_bar, c_bar, x, kernel, gain, c, wanted, *at), None
        return *_derivative(y_bar, c_bar, x, kernel, c, wanted, at)[0], None


def _derivative(
    y_bar: Tensor,
    c_bar: Tensor | None,
    x: Tensor,
    kernel: Tensor,
    c: Tensor,
    wanted: tuple[bool, bool],
    at: _Pass,
) -> tuple[tuple[Tensor | None, ...], tuple[Tensor, ...]]:
    """The cotangents of x and of the kernel (if wanted), of the gain and of the bias.

    They follow from that of c, which is `c_bar + r (S g - mean(g) - z mean(g p))`, where
    `g = s y_bar` and S puts values at their peaks. Means are sums over the pooled values divided by
    the number of unpooled ones, n. Returned, too: the cotangent of c, `sum(y_bar)` and
    `sum(y_bar p)`.
    """
    level_sum, along_sum = sum_of(y_bar), sum_of(y_bar * at.pooled)
    each = at.slope * (-c.shape[1] / c.numel())
    # - r z mean(g p) - r mean(g) is linear in c
    tilt = each * at.inv_std * along_sum
    level = torch.addcmul(each * level_sum, tilt, at.mean, value=-1)
    total = torch.addcmul(level, c, tilt).add_(at_peaks(y_bar * at.slope, c, at.places))
    if c_bar is not None:
        total.add_(c_bar)
    x_bar, kernel_bar = convolution_gradients(total, x, kernel, wanted)
    cotangents = x_bar, kernel_bar, along_sum.view(-1), level_sum.view(-1)
    return cotangents, (total, level_sum, along_sum)


class _BlockBackward(Function):
    """`_derivative` as a function of the cotangents, x, the kernel, the gain, and c."""

    @staticmethod
    def forward(
        ctx: Any,
        y_bar: Tensor,
        c_bar: Tensor | None,
        x: Tensor,
        kernel: Tensor,
        _gain: Tensor,
        c: Tensor,
        wanted: tuple[bool, bool],
        *rest: Tensor,
    ) -> tuple[Tensor | None, ...]:
        cotangents, saved = _derivative(y_bar, c_bar, x, kernel, c, wanted, _Pass(*rest))
        ctx.save_for_backward(y_bar, x, kernel, c, *saved, *rest)
        ctx.set_materialize_grads(False)
        return cotangents

    @staticmethod
    def backward(
        ctx: Any,
        to_x: Tensor | None,
        to_kernel: Tensor | None,
        to_gain: Tensor | None,
        to_bias: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        """By the product rule, with u the cotangent of that of c, and `k = mean(u z)`.

        With h = `to_gain - s r k` and q the mean of `(S' u - mean(u) - k p) y_bar`:
        y_bar gets `r s (S' u - mean(u)) + h p + to_bias`, the gain gets `n r q`, and c gets
        `r (h (S y_bar - mean(y_bar) - z mean(y_bar p)) - s r mean(y_bar p) (u - mean(u) - k z)
        - s r q z)`. Raises RuntimeError where that is to be differentiated once more.
        """
        if torch.is_grad_enabled():
            raise RuntimeError("a fused block has two derivatives, not three: set engine=loop")
        y_bar, x, kernel, c, total, level_sum, along_sum, *rest = ctx.saved_tensors
        at = _Pass(*rest)
        n = c.numel() // c.shape[1]
        level_mean, along_mean = level_sum / n, along_sum / n
        _, c_wanted, x_wanted, kernel_wanted, *_ = ctx.needs_input_grad
        to_c, x_bar, kernel_bar = [], None, None
        if to_kernel is not None:
            to_c.append(F.conv2d(x, to_kernel, padding=1))
            x_bar, _ = convolution_gradients(total, x, to_kernel, (x_wanted, False))
        if to_x is not None:
            to_c.append(F.conv2d(to_x, kernel, padding=1))
            if kernel_wanted:
                _, kernel_bar = convolution_gradients(total, to_x, kernel, (False, True))
        u = sum(to_c[1:], start=to_c[0]) if to_c else torch.zeros_like(c)
        u_mean, u_peaks = sum_of(u) / n, from_peaks(u, at.places)
        k = at.inv_std * (sum_of(u * c) / n - at.mean * u_mean)
        q = sum_of(u_peaks * y_bar) / n - u_mean * level_mean - k * along_mean
        h = -at.slope * k
        if to_gain is not None:
            h = h + per_channel(to_gain)
        flat = -at.slope * u_mean
        if to_bias is not None:
            flat = flat + per_channel(to_bias)
        y_bar_bar = torch.addcmul(flat, at.pooled, h).addcmul_(u_peaks, at.slope)
        gain_bar = (at.inv_std * q * n).view(-1)
        turn = at.slope * along_mean
        tilt = at.inv_std.square() * (k * turn - h * along_mean - at.slope * q)
        level = at.inv_std * (turn * u_mean - h * level_mean) - tilt * at.mean
        c_bar = torch.addcmul(level, c, tilt).addcmul_(u, -at.inv_std * turn)
        c_bar.add_(at_peaks(y_bar * (at.inv_std * h), c, at.places))
        passed = u if c_wanted else None
        return y_bar_bar, passed, x_bar, kernel_bar, gain_bar, c_bar, None, *(None for _ in rest)
