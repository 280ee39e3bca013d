"""The block of `engines/fused.py` where its input is images, which no derivative passes.

A value of the convolution is `c = k . p`, where p is a 3x3 patch of an image. Therefore
`mean(c) = k . mean(p)` and `var(c) = k' Cov(p) k`. The kernel k changes at every inner step; the
mean and the covariance of the patches do not. The pooling is the only pass over c that is left, and
c is not kept.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from maml_cli.engines.fused_parts import (
    LAYOUT,
    at_peaks,
    channels_last,
    convolution_gradients,
    from_peaks,
    of_any_gain,
    per_channel,
)

NUMBERS_AT_ONCE = 2**18
"""Of patches, which have nine times as many as an image: 2 MB in float64."""
KEPT = 2
"""A task shows its network two batches of images in turn, the support set and the queries."""


class Patches(NamedTuple):
    """Images, and the statistics of their patches, which have `d = 9 channels` numbers each."""

    x: Tensor
    """The images in `LAYOUT`."""
    mean: Tensor
    """`(d,)`, in float64."""
    covariance: Tensor
    """`(d, d)`, in float64."""


class Seen:
    """The images that one task has shown its network."""

    def __init__(self) -> None:
        self._latest: dict[Any, tuple[Tensor, Patches | None]] = {}

    def patches(self, x: Tensor) -> Patches | None:
        """The patches of images that were seen before or have one channel; None of others.

        To go through the patches of three channels takes as long as one step gains by them.
        """
        key = x.data_ptr(), x._version, x.shape, x.stride()
        before = self._latest.pop(key, None)
        found = before[1] if before is not None else None
        if found is None and (before is not None or x.shape[1] == 1):
            found = patches_of(x)
        self._latest[key] = x, found  # x is held, so that no other tensor gets its address
        if len(self._latest) > KEPT:
            del self._latest[next(iter(self._latest))]
        return found


def patches_of(x: Tensor) -> Patches:
    """The patches of images `(batch, channels, height, width)`, padded with zeros."""
    size, (height, width) = 9 * x.shape[1], x.shape[2:]
    total = x.new_zeros(size, dtype=torch.float64)
    products = x.new_zeros((size, size), dtype=torch.float64)
    for part in torch.split(x, max(1, NUMBERS_AT_ONCE // (9 * x[0].numel()))):
        padded = F.pad(part.double(), (1, 1, 1, 1))
        shifted = padded.unfold(2, height, 1).unfold(3, width, 1)  # by 0, 1 or 2 rows and columns
        columns = shifted.permute(1, 2, 3, 0, 4, 5).reshape(size, -1)
        total += columns.sum(1)
        products.addmm_(columns, columns.T)
    count = len(x) * x.shape[2] * x.shape[3]
    mean = total / count
    return Patches(channels_last(x), mean, products / count - torch.outer(mean, mean))


@of_any_gain
def block(
    seen: Patches, kernel: Tensor, gain: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`max_pool(batch_norm(convolve(x, kernel)))`, and the batch's mean and biased variance.

    Differentiable any number of times by reverse mode, but not with respect to the images; not for
    functional transforms.
    """
    # in float64, as a smooth image leaves a kernel of differences next to nothing of a large mean
    rows = kernel.flatten(1).double()
    mean = rows @ seen.mean
    var = (rows @ seen.covariance * rows).sum(1)
    scale = gain * (var + eps).rsqrt()
    shift = torch.addcmul(bias, mean, scale, value=-1)
    peaks = _Peaks.apply(kernel, seen.x)
    wide_shift, wide_scale = (per_channel(v.to(peaks.dtype)) for v in (shift, scale))
    y = torch.addcmul(wide_shift, peaks, wide_scale)
    mean, var = mean.detach(), var.detach().clamp_min(0)
    return y, mean.to(peaks.dtype), var.to(peaks.dtype)


class _Peaks(Function):
    """`max_pool(convolve(x, kernel))`. While the peaks stay in their places, it is linear."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, x: Tensor) -> Tensor:
        peaks, places = F.max_pool2d(F.conv2d(x, kernel, padding=1), 2, return_indices=True)
        ctx.save_for_backward(kernel, x, places)
        return peaks

    @staticmethod
    def backward(ctx: Any, peaks_bar: Tensor) -> tuple[Tensor, None]:
        return _Kernel.apply(peaks_bar, *ctx.saved_tensors), None


class _Kernel(Function):
    """The cotangent of the kernel, linear in that of the peaks."""

    @staticmethod
    def forward(ctx: Any, peaks_bar: Tensor, kernel: Tensor, x: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(x, places)
        shape = len(x), len(kernel), *x.shape[2:]
        like = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=LAYOUT)
        c_bar = at_peaks(peaks_bar, like, places)
        return convolution_gradients(c_bar, x, kernel, (False, True))[1]

    @staticmethod
    def backward(ctx: Any, kernel_bar: Tensor) -> tuple[Tensor, None, None, None]:
        x, places = ctx.saved_tensors
        return from_peaks(F.conv2d(x, kernel_bar, padding=1), places), None, None, None
