"""A batch of tasks, split over the processes of a run."""

import torch
from torch import Tensor

from maml_cli.core.functional import prefixed, section
from maml_cli.core.types import Episode, Tensors
from maml_cli.distributed import ranks
from maml_cli.distributed.collectives import concatenated, weighted_sum
from maml_cli.engines.engine import Engine, TaskLoss, TaskMap, TaskTensors


class Ranked:
    """Each process runs its share of the tasks by an engine of its own; all have the results.

    A batch has at least as many tasks as there are processes, but for `map`.
    """

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self._engine = engine

    def mean_gradient(
        self, task_loss: TaskLoss, theta: Tensors, episodes: Episode
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        mine, weight = _share(episodes)
        gradient, kept = self._engine.mean_gradient(task_loss, theta, mine)
        means = weighted_sum(prefixed(gradient, "gradient") | prefixed(kept, "kept"), weight)
        return section(means, "gradient"), section(means, "kept")

    def mean(self, function: TaskTensors, episodes: Episode) -> dict[str, Tensor]:
        mine, weight = _share(episodes)
        return weighted_sum(self._engine.mean(function, mine), weight)

    def map(self, function: TaskMap, episodes: Episode) -> Tensor:
        tasks = len(episodes.support_x)
        each = -(-tasks // ranks.size())
        start = ranks.rank() * each
        # equal shares, the last task repeated: a process without tasks would not know the shape
        rows = torch.arange(start, start + each).clamp(max=tasks - 1).to(episodes.support_x.device)
        mine = Episode(*(field[rows] for field in episodes))
        return concatenated(self._engine.map(function, mine))[:tasks]


def _share(episodes: Episode) -> tuple[Episode, float]:
    """This process's tasks, and their part of all."""
    tasks = len(episodes.support_x)
    share = ranks.share(tasks)
    return Episode(*(field[share] for field in episodes)), (share.stop - share.start) / tasks
