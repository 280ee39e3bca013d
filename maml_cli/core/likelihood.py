"""What outputs say of targets, as a probability density."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """The probability of targets, given outputs."""

    log_p: Callable[[Tensor, Tensor], Tensor]
    """`log p(y)` of each example, `(..., examples)`, from outputs `(..., examples, outputs)`. With
    `noise` their last one is the logarithm of the noise's precision."""
    noise: bool
    """Whether targets are outputs with noise."""
    curvature_root: Callable[[Tensor], Tensor]
    """A of `A A^T`, the Hessian of `-log p` in the outputs, `(examples, outputs, outputs)`; the
    noise has the precision 1."""


def _of_classes(logits: Tensor, labels: Tensor) -> Tensor:
    log_p = logits.log_softmax(-1)
    places = labels.unsqueeze(-1).expand(*log_p.shape[:-1], 1)
    return log_p.gather(-1, places).squeeze(-1)


def _root_of_classes(logits: Tensor) -> Tensor:
    """`diag(sqrt p) - p sqrt(p)^T`, a root of the softmax's Hessian `diag(p) - p p^T`."""
    p = logits.softmax(-1)
    root = (0.5 * logits.log_softmax(-1)).exp()  # the slope of sqrt is infinite at 0
    return torch.diag_embed(root) - p.unsqueeze(-1) * root.unsqueeze(-2)


def _with_noise(outputs: Tensor, targets: Tensor) -> Tensor:
    """Normal, with the precision g: `(log g - g (f - y)^2 - log 2 pi) / 2` for each output."""
    log_precision = outputs[..., -1:]
    square = (outputs[..., :-1] - targets).square()
    return 0.5 * (log_precision - log_precision.exp() * square - math.log(2 * math.pi)).sum(-1)


def _root_of_noise(outputs: Tensor) -> Tensor:
    return torch.diag_embed(torch.ones_like(outputs))


CLASSES = Likelihood(log_p=_of_classes, noise=False, curvature_root=_root_of_classes)
NORMAL = Likelihood(log_p=_with_noise, noise=True, curvature_root=_root_of_noise)
