"""Nearest neighbours among keys that are merged, replaced and grow old.

Source: Kaiser, Nachum, Roy & Bengio 2017, "Learning to remember rare events", section 2.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.nn.init import trunc_normal_

from maml_cli.core.types import Tensors
from maml_cli.readers.reader import Gradient, StreamReader
from maml_cli.readers.sequences import Examples

MARGIN = 0.1
EMPTY = -1
"""The value of a slot that nothing has been written to."""


class Memory(NamedTuple):
    """Slots; what is in them are constants, through which no gradient passes."""

    keys: Tensor
    """Of length 1, or zero where nothing was written, `(slots, width)`."""
    values: Tensor
    """Labels, `(slots,)`."""
    ages: Tensor
    """Examples since the slot was last written, `(slots,)`."""


def empty(slots: int, like: Tensor) -> Memory:
    """A memory for keys like some, of which nothing is written."""
    zeros = like.new_zeros(slots, dtype=torch.int64)
    return Memory(like.new_zeros(slots, like.shape[-1]), zeros + EMPTY, zeros)


def written(memory: Memory, queries: Tensor, labels: Tensor) -> Memory:
    """The memory after examples `(rows, width)` with labels `(rows,)`, all at the same moment.

    All ages grow by 1. If the slot with the nearest key k has the right value, `k <- (k + q) /
    |k + q|`; else the oldest slot gets the key q and the label: of several rows the j-th takes the
    j-th oldest. Either slot's age becomes 0. Where two rows take one slot, the later one has it.
    Source: section 2, "memory update"; the official code's form for several rows.
    """
    queries = queries.detach()
    keys, values, ages = memory.keys, memory.values, memory.ages + 1
    similarity = torch.where(values == EMPTY, -torch.inf, queries @ keys.T)
    nearest = similarity.argmax(1)
    right = values[nearest] == labels
    oldest = ages.argsort(descending=True, stable=True)[: len(queries)]
    places = torch.where(right, nearest, oldest)
    merged = F.normalize(keys[nearest] + queries, dim=1)
    new = torch.where(right.unsqueeze(1), merged, queries)
    slots = torch.arange(len(values), device=values.device)
    for place, key, label in zip(places, new, labels, strict=True):
        here = slots == place
        keys = torch.where(here.unsqueeze(1), key, keys)
        values = torch.where(here, label, values)
        ages = torch.where(here, 0, ages)
    return Memory(keys, values, ages)


def nearest_of_each(memory: Memory, queries: Tensor, classes: int) -> Tensor:
    """The largest cosine with a key of each class, `(queries, classes)`; -1 where there is none."""
    labels = torch.arange(classes, device=queries.device).unsqueeze(1)
    similarity = (queries @ memory.keys.T).unsqueeze(1)
    return torch.where(memory.values == labels, similarity, -1.0).amax(-1)


def margin_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean of `max(0, negative - positive + 0.1)`.

    positive is the largest cosine of the true class, negative that of all others; neither is below
    0. Source: section 2, "memory loss", where the maxima are over the nearest keys; the official
    code subtracts 0.1, which changes no gradient.
    """
    true = targets.unsqueeze(1) == torch.arange(outputs.shape[1], device=outputs.device)
    positive, negative = (
        torch.where(of, outputs, 0.0).amax(1).clamp_min(0) for of in (true, ~true)
    )
    return (negative - positive + MARGIN).clamp_min(0).mean()


@dataclass(frozen=True, kw_only=True)
class NearestKeys(StreamReader):
    """Keys are linear maps of embedded examples, of length 1."""

    width: int
    ways: int
    slots: int | None
    """None: as many as there are examples to read."""

    def init(self, generator: Generator) -> dict[str, Tensor]:
        weight = torch.empty(self.width, self.width)
        return {"projection": trunc_normal_(weight, std=0.01, a=-0.02, b=0.02, generator=generator)}

    def keys(self, params: Tensors, x: Tensor) -> Tensor:
        """Of embedded examples `(..., width)`."""
        return F.normalize(x @ params["projection"].T, dim=-1)

    def read(self, params: Tensors, support: Examples, gradient: Gradient) -> Memory:
        keys = self.keys(params, support.x)
        memory = empty(self.slots or len(keys), keys)
        for key, label in zip(keys, support.y, strict=True):
            memory = written(memory, key.unsqueeze(0), label.unsqueeze(0))
        return memory

    def answer(self, params: Tensors, memory: Memory, x: Tensor) -> Tensor:
        return nearest_of_each(memory, self.keys(params, x), self.ways)

    def stream(self, params: Tensors, examples: Examples) -> Tensor:
        x, y = examples.x.unsqueeze(1), examples.y.unsqueeze(1)
        return self.beside_each_other(params, x, y, self.ways).squeeze(1)

    def beside_each_other(self, params: Tensors, x: Tensor, y: Tensor, classes: int) -> Tensor:
        """Answers `(steps, rows, classes)` of rows of sequences that share one memory."""
        keys = self.keys(params, x)
        memory, outputs = empty(self.slots or y.numel(), keys), []
        for row, labels in zip(keys, y, strict=True):
            outputs.append(nearest_of_each(memory, row, classes))
            memory = written(memory, row, labels)
        return torch.stack(outputs)
