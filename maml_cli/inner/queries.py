"""What an adapted network answers on a query set, and which statistics normalise it."""

from collections.abc import Callable

from torch import Tensor

from maml_cli.core.batch_norm import GivenStats, Norm
from maml_cli.core.settings import BatchNormStats
from maml_cli.core.types import Episode, Tensors


def query_outputs(
    network: Callable[[Tensor, Norm], Tensor],
    episode: Episode,
    bn_stats: BatchNormStats,
    running: Tensors,
    batch_stats: Callable[[], Norm],
) -> Tensor:
    """Outputs on the query set, `(queries, outputs)`.

    `bn_stats` says what normalises: `batch`, the queries' own statistics, so that they see each
    other (transductive); `support`, the network's statistics of the support set; `running`, the
    averages of training.
    """
    if bn_stats == "running":
        return network(episode.query_x, GivenStats(running))
    norm = batch_stats()
    if bn_stats == "support":
        network(episode.support_x, norm)
        norm = GivenStats(norm.collected)
    return network(episode.query_x, norm)
