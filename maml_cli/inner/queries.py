"""What an adapted network answers on a query set, and which statistics normalise it."""

from collections.abc import Callable

import torch
from torch import Tensor

from maml_cli.core.batch_norm import BatchStats, GivenStats, Norm
from maml_cli.core.settings import BatchNormStats
from maml_cli.core.types import Episode, Tensors

EXAMPLES_AT_ONCE = 512
"""Bounds the memory of passes that repeat the support set for every query."""


def query_outputs(
    network: Callable[[Tensor, Norm], Tensor],
    episode: Episode,
    bn_stats: BatchNormStats,
    running: Tensors,
    batch_stats: Callable[[], Norm],
) -> Tensor:
    """Outputs on the query set, `(queries, outputs)`.

    `bn_stats` says what normalises: `batch`, the queries' own statistics, so that they see each
    other (transductive); `support`, the network's statistics of the support set;
    `support_and_query`, those of a batch of the support set and the one query, for each query anew
    (the official Reptile code); `running`, the averages of training.
    """
    if bn_stats == "running":
        return network(episode.query_x, GivenStats(running))
    if bn_stats == "support_and_query":

        def output(query: Tensor) -> Tensor:
            batch = torch.cat([episode.support_x, query.unsqueeze(0)])
            return network(batch, BatchStats())[-1]  # not the engine's: fused blocks forbid vmap

        at_once = max(1, EXAMPLES_AT_ONCE // (len(episode.support_x) + 1))
        return torch.func.vmap(output, chunk_size=at_once)(episode.query_x)
    norm = batch_stats()
    if bn_stats == "support":
        network(episode.support_x, norm)
        norm = GivenStats(norm.collected)
    return network(episode.query_x, norm)
