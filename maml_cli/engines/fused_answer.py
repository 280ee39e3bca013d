"""The block of `engines/fused.py` where nobody asks for a derivative, as in a look at the queries.

The output of the first convolution is the largest tensor of a look: 100 MB for 75 queries of
Mini-ImageNet. To get such memory from the system takes longer than the arithmetic. Pooling comes
before the normalisation, so the examples can be convolved a few at a time; what remains of them is
a quarter of the values, and their sums.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.engines.fused_parts import channels_last, mean_of, of_any_gain, per_channel

NUMBERS_AT_ONCE = 2**20
"""Of a convolution's output: 4 MB in float32, which stay in the cache of a core."""


@of_any_gain
def block(
    x: Tensor, kernel: Tensor, gain: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`max_pool(batch_norm(convolve(x, kernel)))`, and the batch's mean and biased variance.

    Mean and variance of all examples come from those of the parts (Chan, Golub & LeVeque 1979).
    """
    x = channels_last(x)
    each = len(kernel) * x.shape[2] * x.shape[3]
    parts = torch.split(x, max(1, NUMBERS_AT_ONCE // each))
    pooled, means, squares = zip(*(_part(part, kernel) for part in parts), strict=True)
    weights = x.new_tensor([len(part) / len(x) for part in parts]).view(-1, 1, 1, 1)
    by_part = torch.cat(means)
    mean = (weights * by_part).sum(0, keepdim=True)
    spread = torch.cat(squares) + (by_part - mean).square()
    var = (weights * spread).sum(0, keepdim=True)
    scale = per_channel(gain) * (var + eps).rsqrt()
    y = torch.cat(pooled)
    torch.addcmul(per_channel(bias) - mean * scale, y, scale, out=y)
    return y, mean.view(-1), var.view(-1)


def _part(x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Some examples' pooled convolution, and the mean and variance of each channel."""
    c = F.conv2d(x, kernel, padding=1)
    pooled, mean = F.max_pool2d(c, 2), mean_of(c)
    return pooled, mean, mean_of(c.sub_(mean).square_())
