"""What an inner step does with a gradient: an update rule is a direction times a rate.

`phi <- phi - rate * direction`, where the direction is the gradient itself (gradient descent), its
running sum (momentum), or its ratio to its running size (Adam).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from maml_cli.core.algorithm import Sections
from maml_cli.core.precision import widest
from maml_cli.core.types import Tensors
from maml_cli.inner.rates import Rates
from maml_cli.inner.rows import flattened, unflattened


class InnerStep(NamedTuple):
    """What an update rule may know of a step beside the gradient."""

    number: int
    """From 0."""
    loss: Tensor
    """The support loss, a scalar."""
    key: Tensor
    """The episode's."""
    examples: int
    """How many support examples the loss is of."""


class UpdateRule(Protocol):
    """A step of the inner loop as a pure function; its memory travels beside the parameters."""

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        """What is meta-learned of the rule for these adapted parameters; empty if nothing is."""
        ...

    def memory(self, phi: Tensors) -> Sections:
        """The memory before the first step."""
        ...

    def step(
        self, learned: Tensors, memory: Sections, phi: Tensors, gradient: Tensors, at: InnerStep
    ) -> tuple[dict[str, Tensor], Sections]:
        """The adapted parameters after one step, and the memory."""
        ...

    def learned_rates(self, learned: Tensors) -> dict[str, list[float]]:
        """The learned rates per tensor and step, to log."""
        ...


class Direction(Protocol):
    """Where a step goes, before its length is multiplied by a rate."""

    def memory(self, phi: Tensors) -> Sections:
        """What is remembered from step to step, before the first."""
        ...

    def of(self, gradient: Tensors, memory: Sections) -> tuple[dict[str, Tensor], Sections]:
        """The direction, and the memory after it."""
        ...


class GradientMap(Protocol):
    """What is made of a gradient before a rule takes it."""

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        """What is meta-learned of the map for these adapted parameters."""
        ...

    def of(self, learned: Tensors, gradient: Tensors, at: InnerStep) -> dict[str, Tensor]:
        """The gradient that the rule is given."""
        ...

    def shown(self, learned: Tensors) -> dict[str, list[float]]:
        """What to log beside the rates."""
        ...


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A rule that is given a map of the gradient; the map's learned tensors are `NAME/...`."""

    name: str
    map: GradientMap
    rule: UpdateRule

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        own = self.map.init(phi, generator)
        return self.rule.init(phi, generator) | {f"{self.name}/{n}": t for n, t in own.items()}

    def memory(self, phi: Tensors) -> Sections:
        return self.rule.memory(phi)

    def step(
        self, learned: Tensors, memory: Sections, phi: Tensors, gradient: Tensors, at: InnerStep
    ) -> tuple[dict[str, Tensor], Sections]:
        own, rest = self._split(learned)
        return self.rule.step(rest, memory, phi, self.map.of(own, gradient, at), at)

    def learned_rates(self, learned: Tensors) -> dict[str, list[float]]:
        own, rest = self._split(learned)
        return self.rule.learned_rates(rest) | self.map.shown(own)

    def _split(self, learned: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The map's learned tensors, and the rule's."""
        prefix = f"{self.name}/"
        own = {n.removeprefix(prefix): t for n, t in learned.items() if n.startswith(prefix)}
        return own, {n: t for n, t in learned.items() if not n.startswith(prefix)}


@dataclass(frozen=True, kw_only=True)
class Descent:
    """`phi <- phi - rate * direction`. Source: Finn et al. 2017, equation 1, for the gradient."""

    direction: Direction
    rates: Rates

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        return self.rates.init(phi, generator)

    def memory(self, phi: Tensors) -> Sections:
        return self.direction.memory(phi)

    def step(
        self, learned: Tensors, memory: Sections, phi: Tensors, gradient: Tensors, at: InnerStep
    ) -> tuple[dict[str, Tensor], Sections]:
        direction, memory = self.direction.of(gradient, memory)
        rate = self.rates.at
        return {
            n: _less(p, rate(learned, n, at.number), direction[n]) for n, p in phi.items()
        }, memory

    def learned_rates(self, learned: Tensors) -> dict[str, list[float]]:
        return {n: rows.reshape(len(rows), -1).mean(1).tolist() for n, rows in learned.items()}


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

    Source: Tieleman & Hinton 2012, lecture 6.5; the constants are those of torch.optim.RMSprop.
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


def _less(p: Tensor, rate: float | Tensor, direction: Tensor) -> Tensor:
    """`p - rate * direction`; of a number, in one operation."""
    if isinstance(rate, Tensor):
        return p - rate * direction
    return torch.sub(p, direction, alpha=rate)


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
