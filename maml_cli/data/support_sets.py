"""Support sets of somebody's own examples, of which some classes have more than others.

A learner that descends on its support set is drawn to the class with more examples, even where
each class has the same weight: several pictures of a class differ, and its loss stays higher than
that of a class of which a single picture is learned by heart. Such a learner therefore answers from
several sets with the same number of each class, and the outputs are averaged.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_SETS = 10
"""Each costs an adaptation."""

Rows = list[NDArray[np.int64]]
"""For each class, its rows of a class-sorted support set."""


def balanced_sets(counts: Sequence[int]) -> list[Rows]:
    """Sets with the same number of each class, which together hold every example.

    `counts[c]` is the number of class c. A set has as many of each class as the smallest class has,
    and the next set the next ones, from the first again at the end. Where that would make more than
    `MOST_SETS`, it has more, and smaller classes are repeated as a whole, so often that they are as
    near to it as can be. With equal counts it is the one set of all.
    """
    size = max(min(counts), math.ceil(max(counts) / MOST_SETS))
    return [
        [_from(rows, first, size) for rows in _classes(counts)]
        for first in range(0, max(counts), size)
    ]


def whole_set(counts: Sequence[int]) -> Rows:
    """The one set of all examples, in which smaller classes are repeated as a whole.

    That evens out batch statistics.
    """
    return [_from(rows, 0, max(counts)) for rows in _classes(counts)]


def stacked(sets: Sequence[Rows]) -> Tensor:
    """The rows of these sets, `(sets, examples)`."""
    return torch.from_numpy(np.stack([np.concatenate(rows) for rows in sets]))


def _classes(counts: Sequence[int]) -> Rows:
    return np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])


def _from(rows: NDArray[np.int64], first: int, size: int) -> NDArray[np.int64]:
    """About `size` of these rows, from `first` on."""
    if len(rows) <= size:
        return np.tile(rows, round(size / len(rows)))
    return rows[np.arange(first, first + size) % len(rows)]
