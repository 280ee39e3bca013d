"""Each support example by itself: similarities of single examples, put together class by class."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from maml_cli.comparison.comparison import Comparison, of_class
from maml_cli.comparison.context import FullContext
from maml_cli.comparison.similarities import Similarity
from maml_cli.core.norms import Norm
from maml_cli.core.types import Tensors

Pooling = Callable[[Tensor, Tensor], Tensor]
"""From similarities `(queries, examples)` and members `(ways, examples)`, which says whether an
example is of a class, to scores `(queries, ways)`."""


def attention(similarities: Tensor, members: Tensor) -> Tensor:
    """The logarithm of the mean of `exp(similarity)` over the examples of a class.

    Its softmax over the classes is the attention of Matching Networks, a softmax over all examples,
    summed over the examples of each class. A class with more examples than the others gets no more
    weight for that. Source: Vinyals et al. 2016, equation 1.
    """
    exponents = torch.where(members, similarities.unsqueeze(1), -torch.inf)
    return exponents.logsumexp(-1) - members.sum(1).log()


def nearest(similarities: Tensor, members: Tensor) -> Tensor:
    """The similarity of the nearest example of a class."""
    return torch.where(members, similarities.unsqueeze(1), -torch.inf).amax(-1)


@dataclass(frozen=True)
class ClassSum:
    """The sum of the similarities of a class: their mean times `shots`, those of training.

    Source: the code of Ravi & Larochelle 2017, which has one softmax over such sums.
    """

    shots: int

    def __call__(self, similarities: Tensor, members: Tensor) -> Tensor:
        """See `Pooling`."""
        weights = members.to(similarities.dtype)
        return self.shots * (similarities @ weights.T) / weights.sum(1)


class SupportSet(NamedTuple):
    """The support examples, one by one."""

    points: Tensor
    """`(examples, features)`."""
    members: Tensor
    """`(ways, examples)`, boolean."""


@dataclass(frozen=True)
class Examples(Comparison):
    """Scores from the similarities of a query to single support examples.

    With a context, both are first seen in the light of the whole support set.
    """

    similarity: Similarity
    pooling: Pooling
    context: FullContext | None = None

    def init(self, feature_shape: tuple[int, ...], generator: Generator) -> dict[str, Tensor]:
        return {} if self.context is None else self.context.init(feature_shape)

    def classes(self, params: Tensors, support: Tensor, labels: Tensor, ways: int) -> SupportSet:
        points = support.flatten(1)
        if self.context is not None:
            points = self.context.support(params, points)
        return SupportSet(points, of_class(labels, ways))

    def scores(self, params: Tensors, classes: SupportSet, queries: Tensor, norm: Norm) -> Tensor:
        queries = queries.flatten(1)
        if self.context is not None:
            queries = self.context.queries(params, queries, classes.points)
        return self.pooling(self.similarity(queries, classes.points), classes.members)
