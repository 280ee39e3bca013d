"""Binary masks on inner gradients: which weights a task may change (MT-net).

Source: Lee & Choi 2018, section 3.2; a bit is drawn by the Gumbel-softmax of two logits, zeta and
0, at temperature 1: it is 1 with probability sigmoid(zeta). Forward the bit is hard; the backward
pass has the slope of the soft one (straight through).
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maml_cli.core import noise
from maml_cli.core.types import Tensors
from maml_cli.inner.update_rules import GradientMap, InnerStep


@dataclass(frozen=True)
class UnitMask:
    """One bit for each output unit, shared by its weights and bias, and drawn once for a task."""

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        """The logits zeta of each layer's units, 0."""
        return {_layer(n): torch.zeros(len(p)) for n, p in phi.items()}

    def of(self, learned: Tensors, gradient: Tensors, at: InnerStep) -> dict[str, Tensor]:
        bits = {
            layer: bit(zeta, noise.uniform(at.key, f"mask of {layer}", tuple(zeta.shape)))
            for layer, zeta in learned.items()
        }
        return {
            n: g * bits[_layer(n)].reshape(-1, *[1] * (g.dim() - 1)) for n, g in gradient.items()
        }

    def shown(self, learned: Tensors) -> dict[str, list[float]]:
        return _shares(learned)


@dataclass(frozen=True)
class WeightMask:
    """One bit for each weight, drawn anew at every step."""

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        """The logits zeta, 0."""
        return {n: torch.zeros_like(p) for n, p in phi.items()}

    def of(self, learned: Tensors, gradient: Tensors, at: InnerStep) -> dict[str, Tensor]:
        return {n: g * self._bits(learned[n], n, at) for n, g in gradient.items()}

    def _bits(self, zeta: Tensor, name: str, at: InnerStep) -> Tensor:
        start = at.number * zeta.numel()
        return bit(zeta, noise.uniform(at.key, f"mask of {name}", tuple(zeta.shape), start))

    def shown(self, learned: Tensors) -> dict[str, list[float]]:
        return _shares(learned)


def bit(zeta: Tensor, uniform: Tensor) -> Tensor:
    """1 where `zeta + logit(uniform) > 0`, else 0, with the derivative of its sigmoid.

    The difference of two Gumbel numbers is logistic, so that one uniform number is enough.
    """
    soft = torch.sigmoid(zeta + torch.logit(uniform).to(zeta.dtype))
    hard = (soft > 0.5).to(zeta.dtype)
    return hard.detach() + (soft - soft.detach())


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or name


def _shares(learned: Tensors) -> dict[str, list[float]]:
    """The mean probability that an inner step changes a unit or weight."""
    return {f"share of {n} that changes": [z.sigmoid().mean().item()] for n, z in learned.items()}


MASKS: dict[str, GradientMap] = {"unit": UnitMask(), "weight": WeightMask()}
