"""What an inner step does with a gradient: an update rule is a direction times a rate."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from maml_cli.core.algorithm import Sections
from maml_cli.core.types import Tensors
from maml_cli.inner.directions import Direction
from maml_cli.inner.rates import Rates


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


def _less(p: Tensor, rate: float | Tensor, direction: Tensor) -> Tensor:
    """`p - rate * direction`; of a number, in one operation."""
    if isinstance(rate, Tensor):
        # a sum has its first term's layout: in the gradient's, the next step is quicker
        return -rate * direction + p
    return torch.sub(p, direction, alpha=rate)
