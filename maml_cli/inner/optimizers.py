"""What an inner loop does with a gradient: plain descent, or Adam without momentum."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from maml_cli.core.types import Tensors


class InnerOptimizer(Protocol):
    """One inner step as a pure function; its memory travels beside the parameters."""

    def init(self, params: Tensors) -> dict[str, Tensor]:
        """The memory before the first step."""
        ...

    def step(
        self, params: Tensors, gradient: Tensors, memory: Tensors
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The parameters after one step, and the memory."""
        ...


@dataclass(frozen=True)
class SGD:
    """`phi <- phi - lr g`."""

    lr: float

    def init(self, params: Tensors) -> dict[str, Tensor]:
        return {}

    def step(
        self, params: Tensors, gradient: Tensors, memory: Tensors
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {n: p - self.lr * gradient[n] for n, p in params.items()}, {}


@dataclass(frozen=True)
class Adam:
    """`v <- b v + (1 - b) g^2`, `phi <- phi - lr g / (sqrt(v / (1 - b^t)) + eps)`; beta1 is 0.

    The memory is v and the count of steps t. Source: Kingma & Ba 2015, algorithm 1; b = 0.999 and
    eps = 1e-8 are its defaults, beta1 = 0 is Reptile's (Nichol et al. 2018, section 6).
    """

    lr: float
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, params: Tensors) -> dict[str, Tensor]:
        squares = {n: torch.zeros_like(p) for n, p in params.items()}
        return squares | {"steps": torch.zeros((), dtype=torch.float64)}  # 1 - b^t cancels

    def step(
        self, params: Tensors, gradient: Tensors, memory: Tensors
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        steps = memory["steps"] + 1
        correction = 1 - self.beta2**steps
        squares = {
            n: self.beta2 * memory[n] + (1 - self.beta2) * g.square() for n, g in gradient.items()
        }
        moved = {
            n: p - self.lr * gradient[n] / ((squares[n] / correction).sqrt() + self.eps)
            for n, p in params.items()
        }
        return moved, squares | {"steps": steps}
