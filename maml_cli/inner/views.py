"""What the network is handed at an inner step: the parameters, or a row of some of them."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from maml_cli.core.network import Network
from maml_cli.core.types import Tensors


class View(Protocol):
    """Turns meta-parameters into the network's parameters at a step."""

    constant: bool
    """Whether all steps see the same parameters."""

    def init(self, params: Tensors) -> dict[str, Tensor]:
        """The meta-parameters for a fresh network's parameters."""
        ...

    def at(self, params: Tensors, step: int) -> Tensors:
        """The network's parameters at one step (from 0)."""
        ...


@dataclass(frozen=True)
class AsTheyAre:
    """The same parameters at every step (MAML)."""

    constant = True

    def init(self, params: Tensors) -> dict[str, Tensor]:
        return dict(params)

    def at(self, params: Tensors, step: int) -> Tensors:
        return params


@dataclass(frozen=True, kw_only=True)
class NormPerStep:
    """A row of batch-norm gains and biases per inner step, `(steps, features)`.

    Beyond the trained steps the last row stays. Source: Antoniou et al. 2019, section 4, BNWB.
    """

    network: Network
    steps: int
    constant = False

    def init(self, params: Tensors) -> dict[str, Tensor]:
        return {n: p.repeat(self.steps, 1) if self._has_rows(n) else p for n, p in params.items()}

    def at(self, params: Tensors, step: int) -> Tensors:
        row = min(step, self.steps - 1)
        return {n: p[row] if self._has_rows(n) else p for n, p in params.items()}

    def _has_rows(self, name: str) -> bool:
        return self.network.part(name) == "norm"
