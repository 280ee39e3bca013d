"""What the network is handed at an inner step: the parameters, rows or functions of them.

A view may add meta-parameters of its own to those of the network. Their names are
`PART/NAME`, where PART says what they are; the network never sees them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from torch import Generator, Tensor

from maml_cli.core.network import Network
from maml_cli.core.types import Tensors


class View(ABC):
    """Turns meta-parameters into the network's parameters at a step."""

    constant: bool = False
    """Whether all steps see the same parameters."""

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        """The meta-parameters for a fresh network's parameters; by default those alone."""
        return dict(params)

    def start(self, params: Tensors) -> dict[str, Tensor]:
        """The parameters of a task at its start; by default the meta-parameters."""
        return dict(params)

    @abstractmethod
    def at(self, params: Tensors, step: int) -> Tensors:
        """The network's parameters at one step (from 0)."""


def part_of(name: str, network: Network) -> str:
    """What a parameter is: a part of the network, or the `PART` that a view calls it by."""
    part, added, _ = name.partition("/")
    return part if added else network.part(name)


@dataclass(frozen=True)
class AsTheyAre(View):
    """The same parameters at every step (MAML)."""

    constant = True

    def at(self, params: Tensors, step: int) -> Tensors:
        return params


@dataclass(frozen=True, kw_only=True)
class NormPerStep(View):
    """A row of batch-norm gains and biases per inner step, `(steps, features)`.

    Beyond the trained steps the last row stays. Source: Antoniou et al. 2019, section 4, BNWB.
    """

    network: Network
    steps: int

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        return {n: p.repeat(self.steps, 1) if self._has_rows(n) else p for n, p in params.items()}

    def at(self, params: Tensors, step: int) -> Tensors:
        row = min(step, self.steps - 1)
        return {n: p[row] if self._has_rows(n) else p for n, p in params.items()}

    def _has_rows(self, name: str) -> bool:
        return part_of(name, self.network) == "norm"


@dataclass(frozen=True)
class Chain(View):
    """One view after the other, each of what the one before it shows."""

    views: tuple[View, ...]

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        return reduce(lambda p, view: view.init(p, generator), self.views, dict(params))

    def start(self, params: Tensors) -> dict[str, Tensor]:
        return reduce(lambda p, view: view.start(p), self.views, dict(params))

    def at(self, params: Tensors, step: int) -> Tensors:
        return reduce(lambda p, view: view.at(p, step), self.views, params)


def chained(views: Iterable[View]) -> View:
    """The views one after the other; without any, the parameters as they are."""
    several = tuple(views)
    return Chain(several) if several else AsTheyAre()
