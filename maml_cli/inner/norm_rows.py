"""Batch-norm gains and biases: shared by all inner steps, or a row per step (MAML++, "BNWB")."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from maml_cli.core.types import Tensors
from maml_cli.inner.partition import part_of


class NormRows(Protocol):
    """Where a step finds its batch-norm gains and biases among the meta-parameters."""

    def init(self, params: Tensors) -> dict[str, Tensor]:
        """The meta-parameters for a fresh network's parameters."""
        ...

    def at(self, params: Tensors, step: int) -> Tensors:
        """The network's parameters at one step (from 0); beyond the trained steps, the last row."""
        ...


@dataclass(frozen=True)
class SharedNorm:
    """The same gains and biases at every step (MAML)."""

    def init(self, params: Tensors) -> dict[str, Tensor]:
        return dict(params)

    def at(self, params: Tensors, step: int) -> Tensors:
        return params


@dataclass(frozen=True)
class NormPerStep:
    """A row of gains and biases per inner step, `(steps, features)` (MAML++, section 4, BNWB)."""

    steps: int

    def init(self, params: Tensors) -> dict[str, Tensor]:
        return {
            n: p.repeat(self.steps, 1) if part_of(n) == "norm" else p for n, p in params.items()
        }

    def at(self, params: Tensors, step: int) -> Tensors:
        row = min(step, self.steps - 1)
        return {n: p[row] if part_of(n) == "norm" else p for n, p in params.items()}
