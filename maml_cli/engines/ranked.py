"""An engine that splits a batch of tasks over the processes that torchrun started."""

import torch
from torch import Tensor

from maml_cli.core.algorithm import MetaParameters, Phase, TaskStep
from maml_cli.core.merging import merged_shares, parted
from maml_cli.core.types import Episode, Evaluation
from maml_cli.distributed import ranks
from maml_cli.distributed.collectives import concatenated, gathered, weighted_sum
from maml_cli.engines.engine import Engine


class Ranked(Engine):
    """Each process computes its share of the tasks by an engine of its own; all have the results.

    A batch has at least as many tasks as there are processes, but for `predict`.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.algorithm)
        self.name = engine.name
        self._engine = engine

    def step(self, params: MetaParameters, episodes: Episode, phase: Phase) -> TaskStep:
        tasks, rules = len(episodes.support_x), self.algorithm.merges
        mine = Episode(*(field[ranks.share(tasks)] for field in episodes))
        shares = [ranks.share(tasks, rank) for rank in range(ranks.size())]
        weights = [(share.stop - share.start) / tasks for share in shares]
        means, others = parted(self._engine.step(params, mine, phase), rules)
        found = weighted_sum(means, weights[ranks.rank()])
        if others:
            merged = merged_shares([TaskStep({}, own) for own in gathered(others)], weights, rules)
            found.outputs.update(merged.outputs)
        return found

    def predict(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        tasks = len(episodes.support_x)
        each = -(-tasks // ranks.size())
        start = ranks.rank() * each
        # equal shares, the last task repeated: a process without tasks would not know the shape
        rows = torch.arange(start, start + each).clamp(max=tasks - 1).to(episodes.support_x.device)
        mine = Episode(*(field[rows] for field in episodes))
        return concatenated(self._engine.predict(params, mine, evaluation))[:tasks]
