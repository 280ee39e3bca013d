"""What a learner that compares does with features: a score of each query for each class."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from maml_cli.core.norms import Norm
from maml_cli.core.types import Tensors


class Comparison(ABC):
    """Compares the features of queries with those of a support set.

    Its scores are finite logarithms: their softmax over the classes is the prediction. Classes are
    told apart by label, so they may have different numbers of examples, and there may be other
    classes than in training.
    """

    norms: Mapping[str, int] = {}
    """Its batch norms, as in `Network.norms`."""

    def init(self, feature_shape: tuple[int, ...], generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters of its own: by default none."""
        return {}

    @abstractmethod
    def classes(self, params: Tensors, support: Tensor, labels: Tensor, ways: int) -> Any:
        """What it keeps of the support features `(examples, *feature_shape)`, for `scores`."""

    @abstractmethod
    def scores(self, params: Tensors, classes: Any, queries: Tensor, norm: Norm) -> Tensor:
        """Scores `(queries, ways)` of the query features `(queries, *feature_shape)`."""

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """What training minimises: by default the cross-entropy."""
        return F.cross_entropy(scores, labels)


def of_class(labels: Tensor, ways: int) -> Tensor:
    """Whether an example is of a class, `(ways, examples)`."""
    return labels == torch.arange(ways, device=labels.device).unsqueeze(1)


def class_means(features: Tensor, labels: Tensor, ways: int) -> Tensor:
    """The mean features of each class, `(ways, *feature_shape)`."""
    members = of_class(labels, ways).to(features.dtype)
    means = members @ features.flatten(1) / members.sum(1, keepdim=True)
    return means.view(ways, *features.shape[1:])
