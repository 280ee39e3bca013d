"""What a reader is: it makes a memory of examples, and answers queries from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Generator, Tensor

from maml_cli.core.autodiff import Derivative, ScalarFunction
from maml_cli.core.types import Tensors
from maml_cli.readers.sequences import Examples

Gradient = Callable[[ScalarFunction, Any], Derivative]
"""The gradient of a scalar function at a tree, for readers that take one (`core/autodiff.py`)."""


class Reader(ABC):
    """Reads examples into a memory; answers queries from it, each as if it were the only one."""

    @abstractmethod
    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters."""

    @abstractmethod
    def read(self, params: Tensors, support: Examples, gradient: Gradient) -> Any:
        """The memory, a tree of tensors."""

    @abstractmethod
    def answer(self, params: Tensors, memory: Any, x: Tensor) -> Tensor:
        """Outputs `(queries, outputs)` for embedded queries."""


class StreamReader(Reader):
    """A reader that answers every example before it is told the label."""

    @abstractmethod
    def stream(self, params: Tensors, examples: Examples) -> Tensor:
        """Outputs for each example from those before it, `(examples, outputs)`."""
