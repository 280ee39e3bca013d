"""Inner learning rates: one constant, one given, or learned per tensor or weight and step."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from maml_cli.core.types import Tensors


class Rates(Protocol):
    """The step sizes of inner gradient descent."""

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        """What is meta-learned of the rates of these adapted parameters, keyed by their names."""
        ...

    def at(self, learned: Tensors, name: str, step: int) -> float | Tensor:
        """The rate of one tensor at one step (from 0); beyond the trained steps, the last one's."""
        ...


@dataclass(frozen=True)
class ConstantRate:
    """One rate for everything, not learned (MAML, equation 1)."""

    value: float

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        return {}

    def at(self, learned: Tensors, name: str, step: int) -> float:
        return self.value


@dataclass(frozen=True, kw_only=True)
class LearnedRates:
    """Rates of any sign in `rows` rows, one per inner step or a single one that all steps share.

    A row is one scalar per adapted tensor (MAML++, section 4, LSLR), or with `per_weight` a tensor
    of its shape (Meta-SGD: Li et al. 2017, equation 4). All start uniform in [low, high].
    """

    low: float
    high: float
    rows: int
    per_weight: bool

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        return {
            name: torch.empty(self.rows, *(p.shape if self.per_weight else ())).uniform_(
                self.low, self.high, generator=generator
            )
            for name, p in params.items()
        }

    def at(self, learned: Tensors, name: str, step: int) -> Tensor:
        return learned[name][min(step, self.rows - 1)]


@dataclass(frozen=True)
class GivenRate:
    """One rate for everything, which is an input like the parameters, so that it can be batched."""

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        return {"rate": torch.zeros(())}

    def at(self, learned: Tensors, name: str, step: int) -> Tensor:
        return learned["rate"]
