"""The values that travel between the parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from maml_cli.core.objective import Objective
from maml_cli.core.settings import BatchNormStats

Tensors = Mapping[str, Tensor]
"""A flat dictionary of tensors, such as meta-parameters theta or adapted parameters phi."""


NO_KEY = torch.empty(0, dtype=torch.int64)
"""Of episodes whose source leaves keys out; `data/keyed.py` then supplies them."""


class Episode(NamedTuple):
    """One few-shot task, or a batch of them with one more leading dimension on every field.

    Classification: x is `(ways * shots, channels, height, width)` float, y is `(ways * shots,)`
    int64, class-sorted, with labels 0 to ways-1; the queries have the same form. Label k is the
    class with the number `classes[k]` of its split, `(ways,)` int64. Regression: x and y are
    `(points, 1)` float, and `classes` is a single 0. `key` is two random int64 words, `(2,)`, the
    source of all noise within the task (`core/noise.py`).
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    classes: Tensor
    key: Tensor = NO_KEY


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the outer loop stands: `iteration` counts from 0 over the whole run, `epoch` from 0."""

    iteration: int
    epoch: int
    iterations: int
    epochs: int


class Evaluation(NamedTuple):
    """When the queries of a task are scored, and which statistics normalise them."""

    after: tuple[int, ...]
    """Evaluation steps: numbers of inner steps, ascending, from 0 (before any step)."""
    bn_stats: BatchNormStats
    """See `inner/norm_policies.py`."""


class Split(NamedTuple):
    """How much one split of an image data set has to draw from."""

    classes: int
    images_per_class: int


class TaskSource(Protocol):
    """A loaded data set: an endless, random-access supply of episodes per split (train, val, test).

    Episode i is a pure function of (seed, split, i).
    """

    objective: Objective
    input_shape: tuple[int, ...]
    """Shape of one input: (channels, height, width), or (1,) for a curve."""
    output_size: int
    """Outputs of the network: `ways` (whatever `train_ways` is), or 1 for regression."""
    train_classes: int
    """Classes of the training split, numbered from 0, or 1 for regression."""
    remarks: tuple[str, ...]
    """What a reader of the results must know of the data, such as that they are incomplete."""

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Episodes start to start+count-1 of the split, batched, on the device."""
        ...

    def curve_episodes(self, count: int) -> Episode | None:
        """Test episodes with queries on a regular grid, to draw; None if inputs are no numbers."""
        ...
