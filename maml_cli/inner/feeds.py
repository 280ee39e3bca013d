"""What an inner step sees of the support set: all of it, or a minibatch."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from maml_cli.core import noise


class Feed(Protocol):
    """Chooses the support examples of a step, as a pure function of the episode and the step."""

    whole: bool
    """Whether every step sees the whole support set."""

    def rows(self, key: Tensor, examples: int, step: int | Tensor) -> Tensor | slice:
        """The rows of the support set, which has `examples` rows, that step `step` (from 0) sees.

        They are int64 indices, or a slice, which copies nothing.
        """
        ...


@dataclass(frozen=True)
class WholeSupport:
    """Every step sees the whole support set (MAML)."""

    whole = True

    def rows(self, key: Tensor, examples: int, step: int | Tensor) -> slice:
        return slice(None)


@dataclass(frozen=True)
class Minibatches:
    """Step k sees the next `size` examples of a random order of the set, and then of another one.

    A minibatch may begin in one order and end in the next. The orders come from the episode's key.
    A minibatch of as many examples as there are is the set as it is: the mean over its examples
    does not depend on their order. Source: the official Reptile code, `_mini_batches` without
    replacement.
    """

    size: int
    whole = False

    def rows(self, key: Tensor, examples: int, step: int | Tensor) -> Tensor | slice:
        if self.size == examples:
            return slice(None)
        first = int(step) * self.size
        last = first + self.size - 1
        orders = range(first // examples, last // examples + 1)
        drawn = torch.cat([noise.permutation(key, "minibatches", examples, i) for i in orders])
        start = first - orders[0] * examples
        return drawn[start : start + self.size]


@dataclass(frozen=True)
class DrawnBatches:
    """Every step sees `size` examples, each drawn from the whole set, with replacement.

    Source: the official code of Andrychowicz et al. 2016, `problems.mnist`.
    """

    size: int
    whole = False

    def rows(self, key: Tensor, examples: int, step: int | Tensor) -> Tensor:
        return noise.words(key, "minibatches", self.size, start=step * self.size) % examples
