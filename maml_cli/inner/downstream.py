"""What a network that was pretrained on all tasks together does with a new task."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.batch_norm import GivenStats
from maml_cli.core.types import Episode, Looks, Tensors
from maml_cli.engines.engine import Numerics
from maml_cli.inner.descent import Descent, Forward
from maml_cli.inner.queries import query_outputs
from maml_cli.inner.running_stats import RunningStats


class Downstream(Protocol):
    """A way to use a pretrained network on one task."""

    def predict(
        self,
        network: Tensors,
        running: Tensors,
        episode: Episode,
        *,
        looks: Looks,
        numerics: Numerics,
    ) -> Tensor:
        """Query outputs at each look, `(looks, queries, outputs)`.

        `running` are the pretraining's batch-norm statistics.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Gradient descent on the support set, from the network that `start` makes of it."""

    descent: Descent
    start: Callable[[Tensors], Tensors]

    def predict(
        self,
        network: Tensors,
        running: Tensors,
        episode: Episode,
        *,
        looks: Looks,
        numerics: Numerics,
    ) -> Tensor:
        return self.descent.predict(
            self.start(network),
            {},
            running,
            episode,
            looks=looks,
            numerics=numerics,
        )


@dataclass(frozen=True, kw_only=True)
class NearestExample:
    """Each query takes the class of the support example with the most similar features.

    The output for class k is `max cos(f(query), f(x))` over the support examples x of k, from -1 to
    1, where f is the network without its head. No inner step changes it.
    Source: Vinyals et al. 2016, section 4.1, the baseline classifier matched by cosine.
    """

    forward: Forward
    ways: int
    running_stats: RunningStats

    def predict(
        self,
        network: Tensors,
        running: Tensors,
        episode: Episode,
        *,
        looks: Looks,
        numerics: Numerics,
    ) -> Tensor:
        features = partial(self.forward, without_head(network))
        given = self.running_stats.at(running, 0)
        norm = GivenStats(given) if looks.bn_stats == "running" else numerics.batch_stats()
        support = features(episode.support_x, norm)
        query = query_outputs(features, episode, looks.bn_stats, given, numerics.batch_stats)
        similarity = F.normalize(query, dim=1) @ F.normalize(support, dim=1).T
        labels = torch.arange(self.ways, device=similarity.device)
        of_class = episode.support_y == labels.unsqueeze(1)
        nearest = torch.where(of_class, similarity.unsqueeze(1), -torch.inf).amax(-1)
        return nearest.expand(len(looks.after), -1, -1)


def without_head(network: Tensors) -> dict[str, Tensor]:
    """The network whose outputs are its features: the identity as its head."""
    head = network["head.weight"]
    size = head.shape[1]
    identity = torch.eye(size, dtype=head.dtype, device=head.device)
    return {**network, "head.weight": identity, "head.bias": head.new_zeros(size)}


def with_blank_head(network: Tensors, ways: int) -> dict[str, Tensor]:
    """The network with a head of zeros for so many classes, which are all alike to it."""
    head = network["head.weight"]
    blank = head.new_zeros(ways, head.shape[1])
    return {**network, "head.weight": blank, "head.bias": head.new_zeros(ways)}
