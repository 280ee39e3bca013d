"""Limits to the size of a meta-gradient, which is a mean over all tasks of a batch."""

from collections.abc import Collection

from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_


def clip(tensors: Collection[Tensor], *, by_value: float | None, by_norm: float | None) -> None:
    """Clamp each number of their gradients to `+- by_value`; then limit their length to `by_norm`.

    `g <- g min(1, by_norm / |g|)`, where |g| is the Euclidean norm over all tensors together
    (Pascanu, Mikolov & Bengio 2013, algorithm 1). None: no limit.
    """
    if by_value is not None:
        clip_grad_value_(tensors, by_value)
    if by_norm is not None:
        clip_grad_norm_(tensors, by_norm)
