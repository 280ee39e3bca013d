"""A comparison that is learned: a small network that looks at a query and a class together.

Source: Sung et al. 2018, and its official code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from maml_cli.comparison.comparison import Comparison, class_means, of_class
from maml_cli.core.errors import UsageError
from maml_cli.core.norms import EPS, Norm
from maml_cli.core.types import Tensors

BLOCKS = ("relation.0", "relation.1")
KERNEL = 3


@dataclass(frozen=True, kw_only=True)
class Relation(Comparison):
    """The relation score of a query and a class, before its sigmoid, by their maps of features.

    A class is the sum of the maps of its examples: their mean times `shots`, those of training. The
    maps of class and query pass two blocks of convolution 3x3, batch norm, ReLU and 2x2
    max-pooling, then a layer of `units` with ReLU, and one of a single output.
    """

    filters: int
    padding: int
    units: int
    shots: int
    criterion: Literal["squared_error", "cross_entropy"]

    @property
    def norms(self) -> Mapping[str, int]:  # type: ignore[override]
        return {f"{block}.norm": self.filters for block in BLOCKS}

    def init(self, feature_shape: tuple[int, ...], generator: Generator) -> dict[str, Tensor]:
        """Kernels N(0, 2 / (9 filters)), linear weights N(0, 0.01^2) with biases of 1."""
        maps, sizes = _maps(feature_shape), pooled_sizes(feature_shape, self.padding)
        params: dict[str, Tensor] = {}
        for block, channels in zip(BLOCKS, (2 * maps, self.filters), strict=True):
            kernel = torch.empty(self.filters, channels, KERNEL, KERNEL)
            deviation = (2 / (KERNEL**2 * self.filters)) ** 0.5
            params[f"{block}.conv.weight"] = kernel.normal_(0, deviation, generator=generator)
            params[f"{block}.conv.bias"] = torch.zeros(self.filters)
            params[f"{block}.norm.weight"] = torch.ones(self.filters)
            params[f"{block}.norm.bias"] = torch.zeros(self.filters)
        widths = (self.filters * prod(sizes[-1]), self.units, 1)
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            weight = torch.empty(outputs, inputs).normal_(0, 0.01, generator=generator)
            params[f"linear.{layer}.weight"] = weight
            params[f"linear.{layer}.bias"] = torch.ones(outputs)
        return params

    def classes(self, params: Tensors, support: Tensor, labels: Tensor, ways: int) -> Tensor:
        """What the first convolution makes of the class maps, `(ways, filters, height, width)`."""
        maps = support.shape[1]
        summed = self.shots * class_means(support, labels, ways)
        kernel = params["relation.0.conv.weight"][:, :maps]
        return F.conv2d(summed, kernel, padding=self.padding)

    def scores(self, params: Tensors, classes: Tensor, queries: Tensor, norm: Norm) -> Tensor:
        ways, maps = len(classes), queries.shape[1]
        kernel, bias = params["relation.0.conv.weight"], params["relation.0.conv.bias"]
        # a convolution is linear: that of a pair is that of the class plus that of the query
        of_queries = F.conv2d(queries, kernel[:, maps:], bias, padding=self.padding)
        pairs = (of_queries.unsqueeze(1) + classes).flatten(0, 1)
        x = self._normalised(params, BLOCKS[0], pairs, norm)
        kernel, bias = params["relation.1.conv.weight"], params["relation.1.conv.bias"]
        x = F.conv2d(x, kernel, bias, padding=self.padding)
        x = self._normalised(params, BLOCKS[1], x, norm).flatten(1)
        x = F.relu(F.linear(x, params["linear.0.weight"], params["linear.0.bias"]))
        x = F.linear(x, params["linear.1.weight"], params["linear.1.bias"])
        return x.view(-1, ways)

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The squared error of `sigmoid(score)` against 1 for the right class and 0 for others.

        The mean is over all pairs of a query and a class; or else the cross-entropy of the scores.
        """
        if self.criterion == "cross_entropy":
            return F.cross_entropy(scores, labels)
        wanted = of_class(labels, scores.shape[1]).T.to(scores.dtype)
        return F.mse_loss(scores.sigmoid(), wanted)

    @staticmethod
    def _normalised(params: Tensors, block: str, x: Tensor, norm: Norm) -> Tensor:
        # ReLU increases, so it commutes with pooling
        return F.relu(F.max_pool2d(norm(f"{block}.norm", x, params, EPS), 2))


def pooled_sizes(feature_shape: tuple[int, ...], padding: int) -> list[tuple[int, int]]:
    """Height and width of the maps after each block; raises UsageError where nothing is left."""
    _, height, width = feature_shape
    sizes = []
    for _ in BLOCKS:
        height, width = ((n + 2 * padding - KERNEL + 1) // 2 for n in (height, width))
        sizes.append((height, width))
    if min(*sizes[-1], *sizes[0]) < 1:
        course = " -> ".join(f"{h}x{w}" for h, w in [feature_shape[1:], *sizes])
        raise UsageError(
            f"the relation module halves maps twice, but with algo.padding={padding} these "
            f"features give {course}: choose a backbone that leaves larger maps, such as "
            "backbone=conv4_relation, or larger images"
        )
    return sizes


def _maps(feature_shape: tuple[int, ...]) -> int:
    if len(feature_shape) != 3:
        raise UsageError(
            "the relation module compares maps of features (channels, height, width), but the "
            f"features of this backbone have the shape {list(feature_shape)}: choose "
            "backbone=conv4_relation"
        )
    return feature_shape[0]
