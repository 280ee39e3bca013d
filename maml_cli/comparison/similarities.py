"""How near a query is to a point: the larger, the nearer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

DISTANCES = Literal["squared_euclidean", "cosine"]

Similarity = Callable[[Tensor, Tensor], Tensor]
"""From queries `(queries, features)` and points `(points, features)` to `(queries, points)`."""


def squared_euclidean(queries: Tensor, points: Tensor) -> Tensor:
    """Minus the squared distance, `-|q - p|^2`.

    Source: Snell, Swersky & Zemel 2017, section 2.7.
    """
    return -(queries.unsqueeze(1) - points).square().sum(-1)


@dataclass(frozen=True)
class Cosine:
    """The cosine of the angle, times a scale: `scale * q.p / (|q| |p|)`.

    Source: Vinyals et al. 2016, section 2.1.1, where the scale is 1.
    """

    scale: float = 1.0

    def __call__(self, queries: Tensor, points: Tensor) -> Tensor:
        """See `Similarity`."""
        return self.scale * (F.normalize(queries, dim=1) @ F.normalize(points, dim=1).T)


def similarity(distance: DISTANCES, scale: float) -> Similarity:
    """The similarity of that name; the scale is of the cosine alone."""
    return squared_euclidean if distance == "squared_euclidean" else Cosine(scale)
