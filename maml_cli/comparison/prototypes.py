"""Each class as one point: the mean of its examples."""

from dataclasses import dataclass

from torch import Tensor

from maml_cli.comparison.comparison import Comparison, class_means
from maml_cli.comparison.similarities import Similarity
from maml_cli.core.norms import Norm
from maml_cli.core.types import Tensors


@dataclass(frozen=True)
class Prototypes(Comparison):
    """The score of a class is the similarity of the query to the mean of its support features.

    Source: Snell, Swersky & Zemel 2017, equations 1 and 2.
    """

    similarity: Similarity

    def classes(self, params: Tensors, support: Tensor, labels: Tensor, ways: int) -> Tensor:
        """The prototypes, `(ways, features)`."""
        return class_means(support.flatten(1), labels, ways)

    def scores(self, params: Tensors, classes: Tensor, queries: Tensor, norm: Norm) -> Tensor:
        return self.similarity(queries.flatten(1), classes)
