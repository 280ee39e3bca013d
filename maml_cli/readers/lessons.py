"""What training asks of a reader."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maml_cli.core import noise
from maml_cli.core.types import Tensors
from maml_cli.readers.reader import Gradient, Reader, StreamReader
from maml_cli.readers.sequences import Examples, rounds


class Task(NamedTuple):
    """The embedded examples of an episode, the support set in the order in which it is read."""

    support: Examples
    query: Examples
    key: Tensor
    """The episode's."""


class Lesson(ABC):
    """What is asked of a reader in training."""

    @abstractmethod
    def __call__(
        self, reader: Any, params: Tensors, task: Task, gradient: Gradient
    ) -> tuple[Tensor, Tensor]:
        """Outputs that the loss counts, `(examples, outputs)`, and their targets."""


class Queries(Lesson):
    """The support set is read, then the queries are answered: what the test asks, too."""

    def __call__(
        self, reader: Reader, params: Tensors, task: Task, gradient: Gradient
    ) -> tuple[Tensor, Tensor]:
        memory = reader.read(params, task.support, gradient)
        return reader.answer(params, memory, task.query.x), task.query.y


@dataclass(frozen=True)
class Stream(Lesson):
    """Support set and queries are one sequence in random order; every example is answered.

    In rounds, each class comes once before any comes twice.
    """

    in_rounds: bool

    def __call__(
        self, reader: StreamReader, params: Tensors, task: Task, gradient: Gradient
    ) -> tuple[Tensor, Tensor]:
        examples = self.sequence(task)
        return reader.stream(params, examples), examples.y

    def sequence(self, task: Task) -> Examples:
        """All examples of a task in the order in which they are asked."""
        fields = zip(task.support, task.query, strict=True)
        examples = Examples(*(torch.cat(pair) for pair in fields))
        places = noise.permutation(task.key, "stream", len(examples.y))
        if self.in_rounds:
            places = places[rounds(examples.y[places]).argsort(stable=True)]
        return Examples(*(field[places] for field in examples))


QUERIES = Queries()
