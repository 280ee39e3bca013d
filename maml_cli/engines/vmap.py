"""All tasks at once: every operation carries the tasks as one more dimension.

For GPUs, and for networks of many tiny operations.
"""

import torch
from torch import Tensor

from maml_cli.core.algorithm import MetaParameters, Ops, Phase, TaskStep
from maml_cli.core.autodiff import Functional
from maml_cli.core.merging import merged_stack
from maml_cli.core.norms import BatchStats
from maml_cli.core.types import Episode, Evaluation
from maml_cli.engines.engine import Engine


class Vmap(Engine):
    """Batches every operation over the tasks, by `torch.func.vmap`."""

    name = "vmap"
    _ops = Ops(Functional(), BatchStats)

    def step(self, params: MetaParameters, episodes: Episode, phase: Phase) -> TaskStep:
        def one_task(*fields: Tensor) -> TaskStep:
            return self.algorithm.task(params, Episode(*fields), phase, self._ops)

        with torch.no_grad():
            if self.algorithm.together:
                return one_task(*episodes)
            return merged_stack(torch.func.vmap(one_task)(*episodes), self.algorithm.merges)

    def predict(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        def one_task(*fields: Tensor) -> Tensor:
            return self.algorithm.predict(params, Episode(*fields), evaluation, self._ops)

        with torch.no_grad():
            return torch.func.vmap(one_task)(*episodes)
