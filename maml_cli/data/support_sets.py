"""Support sets of somebody's own examples, of which some classes have more than others.

A learner that descends on its support set is drawn to the class with more examples, even where
each class has the same weight: several pictures of a class differ, and its loss stays higher than
that of a class of which a single picture is learned by heart. Such a learner therefore answers from
several sets with the same number of each class, and the outputs are averaged.

So does a learner that reads a sequence, where there are more examples than it can read at once.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_SETS = 10
"""Each costs an adaptation, or a reading."""

Rows = list[NDArray[np.int64]]
"""For each class, its rows of a class-sorted support set."""


def balanced_sets(counts: Sequence[int]) -> list[Rows]:
    """Sets with the same number of each class, which together hold every example.

    `counts[c]` is the number of class c. A set has as many of each class as the smallest class has,
    and the next set the next ones, from the first again at the end. Where that would make more than
    `MOST_SETS`, it has more, and smaller classes are repeated as a whole, so often that they are as
    near to it as can be. With equal counts it is the one set of all.
    """
    return _sets(counts, max(min(counts), math.ceil(max(counts) / MOST_SETS)))


def large_sets(counts: Sequence[int], most: int | None = None) -> list[Rows]:
    """The fewest sets that have at most `most` examples of each class (None: one set of all).

    Smaller classes are repeated as a whole, which evens out batch statistics. Where `most` would
    make more than `MOST_SETS`, a set has more.
    """
    largest = max(counts)
    number = 1 if most is None else min(math.ceil(largest / most), MOST_SETS)
    return _sets(counts, math.ceil(largest / number))


def stacked(sets: Sequence[Rows]) -> Tensor:
    """The rows of these sets, `(sets, examples)`."""
    return torch.from_numpy(np.stack([np.concatenate(rows) for rows in sets]))


def _sets(counts: Sequence[int], size: int) -> list[Rows]:
    """Sets with this number of each class, of which the largest class makes the last one full."""
    return [
        [_from(rows, first, size) for rows in _classes(counts)]
        for first in range(0, max(counts), size)
    ]


def _classes(counts: Sequence[int]) -> Rows:
    return np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])


def _from(rows: NDArray[np.int64], first: int, size: int) -> NDArray[np.int64]:
    """About `size` of these rows, from `first` on."""
    if len(rows) <= size:
        return np.tile(rows, round(size / len(rows)))
    return rows[np.arange(first, first + size) % len(rows)]
