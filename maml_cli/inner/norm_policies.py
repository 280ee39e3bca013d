"""Which statistics normalise the support passes and the query passes of a task."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from maml_cli.core.algorithm import Ops
from maml_cli.core.norms import BatchStats, GivenStats, InputStats, LeadingStats, Norm
from maml_cli.core.types import Episode, Tensors

EXAMPLES_AT_ONCE = 512
"""Bounds the memory of passes that repeat the support set for every query."""

Forward = Callable[[Tensor, Norm], Tensor]
"""A network at some parameters, of inputs `(batch, ...)`."""


class NormPolicy(ABC):
    """Normalises the passes of one task. `running` are the running statistics at the step."""

    gathers: bool = False
    """Whether statistics of the query pass are wanted at every inner step."""

    def support(self, ops: Ops, running: Tensors) -> Norm:
        """What normalises a support pass: by default the statistics of that pass."""
        return ops.batch_stats()

    @abstractmethod
    def queries(
        self, network: Forward, episode: Episode, ops: Ops, running: Tensors
    ) -> tuple[Tensor, Tensors]:
        """The network's outputs on the query set, and the statistics of that pass, if any."""


@dataclass(frozen=True)
class ByBatch(NormPolicy):
    """The queries' own statistics, so that queries see each other (transductive)."""

    gathers: bool = False

    def queries(
        self, network: Forward, episode: Episode, ops: Ops, running: Tensors
    ) -> tuple[Tensor, Tensors]:
        norm = ops.batch_stats()
        norm.gathers_inputs = self.gathers
        return network(episode.query_x, norm), norm.statistics


@dataclass(frozen=True)
class BySupport(NormPolicy):
    """The adapted network's statistics of the support set."""

    def queries(
        self, network: Forward, episode: Episode, ops: Ops, running: Tensors
    ) -> tuple[Tensor, Tensors]:
        count = len(episode.support_x)
        both = torch.cat([episode.support_x, episode.query_x])
        return network(both, LeadingStats(count, len(both)))[count:], {}


@dataclass(frozen=True)
class BySupportAndQuery(NormPolicy):
    """Statistics of the support set and one query, for each query anew (official Reptile code)."""

    def queries(
        self, network: Forward, episode: Episode, ops: Ops, running: Tensors
    ) -> tuple[Tensor, Tensors]:
        def output(query: Tensor) -> Tensor:
            batch = torch.cat([episode.support_x, query.unsqueeze(0)])
            return network(batch, BatchStats())[-1]  # not the engine's: fused blocks forbid vmap

        at_once = max(1, EXAMPLES_AT_ONCE // (len(episode.support_x) + 1))
        return torch.func.vmap(output, chunk_size=at_once)(episode.query_x), {}


@dataclass(frozen=True)
class ByRunning(NormPolicy):
    """The averages of training, for support set and queries: for bodies that do not adapt."""

    def support(self, ops: Ops, running: Tensors) -> Norm:
        return GivenStats(running)

    def queries(
        self, network: Forward, episode: Episode, ops: Ops, running: Tensors
    ) -> tuple[Tensor, Tensors]:
        return network(episode.query_x, GivenStats(running)), {}


@dataclass(frozen=True)
class ByRunningInputs(NormPolicy):
    """The averages of training for the queries, as `InputStats` uses them; inductive."""

    gathers: bool = True

    def queries(
        self, network: Forward, episode: Episode, ops: Ops, running: Tensors
    ) -> tuple[Tensor, Tensors]:
        norm = InputStats(running)
        return network(episode.query_x, norm), norm.statistics


BY_NAME: dict[str, NormPolicy] = {
    "batch": ByBatch(),
    "support": BySupport(),
    "support_and_query": BySupportAndQuery(),
}


def norm_policy(bn_stats: str, running: NormPolicy) -> NormPolicy:
    """The policy of that name; `running` is what an algorithm means by running statistics."""
    return {**BY_NAME, "running": running}[bn_stats]
