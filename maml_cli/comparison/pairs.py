"""Pairs of pictures: a learned number says whether both are of the same class.

Source: Koch, Zemel & Salakhutdinov 2015, section 3.
"""

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from maml_cli.comparison.comparison import Comparison, of_class
from maml_cli.comparison.examples import SupportSet, nearest
from maml_cli.core.norms import Norm
from maml_cli.core.types import Tensors


@dataclass(frozen=True)
class WeightedL1(Comparison):
    """`sum_j alpha_j |h_j(q) - h_j(x)| + bias`, of which the sigmoid is "the same class".

    h is a layer of `units` sigmoids on the features. The score of a class is that of its example
    with the highest score.
    """

    units: int

    def init(self, feature_shape: tuple[int, ...], generator: Generator) -> dict[str, Tensor]:
        """Weights N(0, 0.2^2), biases of the layer N(0.5, 0.01^2), that of the score 0."""
        size = prod(feature_shape)
        return {
            "layer.weight": torch.empty(self.units, size).normal_(0, 0.2, generator=generator),
            "layer.bias": torch.empty(self.units).normal_(0.5, 0.01, generator=generator),
            "alpha": torch.empty(self.units).normal_(0, 0.2, generator=generator),
            "bias": torch.zeros(1),
        }

    def classes(self, params: Tensors, support: Tensor, labels: Tensor, ways: int) -> SupportSet:
        return SupportSet(self._layer(params, support), of_class(labels, ways))

    def scores(self, params: Tensors, classes: SupportSet, queries: Tensor, norm: Norm) -> Tensor:
        h, alpha = self._layer(params, queries), params["alpha"]
        # one support example after the other: all pairs at once would be large
        pairs = [(h - point).abs() @ alpha for point in classes.points]
        return nearest(torch.stack(pairs, dim=1) + params["bias"], classes.members)

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy of as many pairs of one class as of two, two for each query.

        A query is paired with its own class and with the next one, so that every class is in as
        many pairs of both kinds.
        """
        same = scores.gather(1, labels.unsqueeze(1))
        other = scores.gather(1, (labels.unsqueeze(1) + 1) % scores.shape[1])
        return (F.softplus(-same) + F.softplus(other)).mean() / 2

    @staticmethod
    def _layer(params: Tensors, features: Tensor) -> Tensor:
        return F.linear(features.flatten(1), params["layer.weight"], params["layer.bias"]).sigmoid()
