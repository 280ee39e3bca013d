"""Batch normalisation whose blocks differentiate twice at less cost."""

import torch
from torch import Tensor

from maml_cli.core.norms import EPS, BatchStats, LinearLayer, affine, conv3x3
from maml_cli.core.types import Tensors
from maml_cli.engines import fused, fused_answer, fused_images
from maml_cli.engines.fused_images import Patches, Seen


class FusedBatchStats(BatchStats):
    """`BatchStats` with blocks that differentiate twice at less cost (`engines/fused.py`).

    A convolution's bias only moves the mean that is then subtracted, so it is left out of the work.
    `seen` are the images of the task.
    """

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def conv_and_pool(self, block: str, x: Tensor, params: Tensors, eps: float = EPS) -> Tensor:
        source, layer = conv3x3(block, x, params), f"{block}.norm"
        inputs = (x, source.weight, *affine(layer, params, len(source.weight), x))
        learns = torch.is_grad_enabled() and any(t.requires_grad for t in inputs)
        patches = self._patches(x, source) if learns else None
        if patches is not None:
            y, mean, var = fused_images.block(patches, *inputs[1:], eps)
        else:
            computed = fused.block if learns else fused_answer.block
            y, mean, var = computed(*inputs, eps)
        bias = source.bias
        self.gather(layer, mean if bias is None else mean + bias.detach(), var, source)
        return y

    def _patches(self, x: Tensor, source: LinearLayer) -> Patches | None:
        """Those of images, where one has no more numbers than the convolution makes of it."""
        data = not x.requires_grad and source.weight[0].numel() <= len(source.weight)
        return self._seen.patches(x) if data else None
