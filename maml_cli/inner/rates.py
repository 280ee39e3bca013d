"""Inner learning rates: one constant, or learned per tensor and step (MAML++, "LSLR")."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from maml_cli.core.types import Tensors


class Rates(Protocol):
    """The step sizes of inner gradient descent."""

    def init(self, params: Tensors) -> dict[str, Tensor]:
        """What is meta-learned of the rates of these adapted parameters, keyed by their names."""
        ...

    def at(self, learned: Tensors, name: str, step: int) -> float | Tensor:
        """The rate of one tensor at one step (from 0); beyond the trained steps, the last one's."""
        ...


@dataclass(frozen=True)
class ConstantRate:
    """One rate for everything, not learned (MAML, equation 1)."""

    value: float

    def init(self, params: Tensors) -> dict[str, Tensor]:
        return {}

    def at(self, learned: Tensors, name: str, step: int) -> float:
        return self.value


@dataclass(frozen=True)
class RatePerTensorAndStep:
    """One learned scalar per adapted tensor and step, of any sign (MAML++, section 4, LSLR)."""

    value: float
    steps: int

    def init(self, params: Tensors) -> dict[str, Tensor]:
        return {name: torch.full((self.steps,), self.value) for name in params}

    def at(self, learned: Tensors, name: str, step: int) -> Tensor:
        return learned[name][min(step, self.steps - 1)]
