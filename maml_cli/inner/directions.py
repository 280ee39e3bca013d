"""Where an inner step goes, before its length is multiplied by a rate.

The direction is the gradient itself (gradient descent), its running sum (momentum), or its ratio to
its running size (Adam).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from maml_cli.core.algorithm import Sections
from maml_cli.core.precision import widest
from maml_cli.core.types import Tensors
from maml_cli.inner.rows import flattened, unflattened


class Direction(Protocol):
    """A direction as a pure function of the gradients so far; its memory is handed on."""

    def memory(self, phi: Tensors) -> Sections:
        """What is remembered from step to step, before the first."""
        ...

    def of(self, gradient: Tensors, memory: Sections) -> tuple[dict[str, Tensor], Sections]:
        """The direction, and the memory after it."""
        ...


@dataclass(frozen=True)
class SGD:
    """The gradient itself."""

    def memory(self, phi: Tensors) -> Sections:
        return {}

    def of(self, gradient: Tensors, memory: Sections) -> tuple[dict[str, Tensor], Sections]:
        return dict(gradient), memory


@dataclass(frozen=True)
class Momentum:
    """`v <- m v + g`, the direction is v; v starts at 0 for each task (Polyak 1964)."""

    factor: float = 0.9

    def memory(self, phi: Tensors) -> Sections:
        return {"velocity": {n: torch.zeros_like(p) for n, p in phi.items()}}

    def of(self, gradient: Tensors, memory: Sections) -> tuple[dict[str, Tensor], Sections]:
        velocity = {n: self.factor * memory["velocity"][n] + g for n, g in gradient.items()}
        return velocity, {"velocity": velocity}


@dataclass(frozen=True)
class Nesterov:
    """`v <- m v + g`, the direction is `g + m v`; v starts at 0.

    phi is the point to which the momentum leads next, so g is the gradient there (Nesterov 1983, in
    the form of torch.optim.SGD).
    """

    factor: float = 0.9

    def memory(self, phi: Tensors) -> Sections:
        return Momentum(self.factor).memory(phi)

    def of(self, gradient: Tensors, memory: Sections) -> tuple[dict[str, Tensor], Sections]:
        velocity, memory = Momentum(self.factor).of(gradient, memory)
        return {n: g + self.factor * velocity[n] for n, g in gradient.items()}, memory


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """`v <- d v + (1 - d) g^2` from 0; the direction is `g / (sqrt(v) + eps)`.

    Source: Tieleman & Hinton 2012, lecture 6.5. The constants are torch.optim.RMSprop's.
    """

    decay: float = 0.99
    eps: float = 1e-8

    def memory(self, phi: Tensors) -> Sections:
        return {"square": {n: torch.zeros_like(p) for n, p in phi.items()}}

    def of(self, gradient: Tensors, memory: Sections) -> tuple[dict[str, Tensor], Sections]:
        squares = {
            n: self.decay * memory["square"][n] + (1 - self.decay) * g.square()
            for n, g in gradient.items()
        }
        return {n: g / (_root(squares[n]) + self.eps) for n, g in gradient.items()}, {
            "square": squares
        }


@dataclass(frozen=True, kw_only=True)
class Adam:
    """`m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`; both start at 0.

    The direction is `m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)` at step t, from 1. With b1 = 0
    there is no m. Source: Kingma & Ba 2015, algorithm 1, whose defaults these are.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def memory(self, phi: Tensors) -> Sections:
        zeros = {n: torch.zeros_like(p) for n, p in phi.items()}
        device = next(iter(phi.values())).device if phi else None
        dtype = torch.float64 if device is None else widest(device)  # 1 - b^t loses digits
        count = torch.zeros((), dtype=dtype, device=device)
        means = {"mean": zeros} if self.beta1 else {}
        return means | {"square": zeros, "count": {"steps": count}}

    def of(self, gradient: Tensors, memory: Sections) -> tuple[dict[str, Tensor], Sections]:
        # eight operations on one vector take less time than eight on each of the tensors
        names = list(gradient)
        row, steps = flattened(gradient, names), memory["count"]["steps"] + 1
        square = self.beta2 * flattened(memory["square"], names)
        square = square + (1 - self.beta2) * row.square()
        after: Sections = {
            "square": unflattened(square, gradient, names),
            "count": {"steps": steps},
        }
        numerator = row
        if self.beta1:
            mean = self.beta1 * flattened(memory["mean"], names) + (1 - self.beta1) * row
            after = {"mean": unflattened(mean, gradient, names), **after}
            numerator = mean / (1 - self.beta1**steps)
        root = _root(square / (1 - self.beta2**steps))
        return unflattened(numerator / (root + self.eps), gradient, names), after


def _root(square: Tensor) -> Tensor:
    """The square root; the least positive number is added, so that its derivative is finite at 0.

    It is the derivative with respect to a square's own root g, `2 g` times this one: 0 at 0.
    """
    return (square + torch.finfo(square.dtype).tiny).sqrt()


DIRECTIONS: dict[str, Direction] = {
    "sgd": SGD(),
    "momentum": Momentum(),
    "nesterov": Nesterov(),
    "rmsprop": RMSprop(),
    "adam": Adam(),
}


def optional_toggles(inner_optimizer: str, proximal: float) -> dict[str, bool | str]:
    """The entries of `toggles` that tell these two settings from plain gradient descent."""
    named: dict[str, bool | str] = {}
    if inner_optimizer != "sgd":
        named["inner_optimizer"] = inner_optimizer
    if proximal:
        named["proximal"] = str(proximal)
    return named
