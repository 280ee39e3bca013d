"""All tasks at once: every operation carries the tasks as one more dimension.

For GPUs, and for networks of many tiny operations.
"""

from dataclasses import replace

import torch
from torch import Tensor

from maml_cli.core.algorithm import (
    LOG,
    Algorithm,
    MetaParameters,
    Ops,
    Phase,
    Sections,
    TaskStep,
)
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
            if self.algorithm.steps == 0 and type(self.algorithm).task is Algorithm.task:
                return self._of_losses(params, episodes, phase)
            return merged_stack(torch.func.vmap(one_task)(*episodes), self.algorithm.merges)

    def _of_losses(self, params: MetaParameters, episodes: Episode, phase: Phase) -> TaskStep:
        """The gradient of the mean loss, which is the mean of the tasks' gradients.

        Without inner steps all tasks have the same weights. The gradient of a weight is then one
        matrix product over all tasks, and never stored for each. With inner steps nothing is saved,
        and torch 2.13 differentiates adapted gains of a batch norm wrongly in this order.
        """

        def mean_loss(theta: Sections) -> tuple[Tensor, tuple[Tensor, Sections]]:
            at = replace(params, theta=theta)

            def one_task(*fields: Tensor) -> tuple[Tensor, Sections]:
                return self.algorithm.loss(at, Episode(*fields), phase, self._ops)

            losses, outputs = torch.func.vmap(one_task)(*episodes)
            return losses.mean(), (losses.detach(), outputs)

        found = self._ops.autodiff.outer_gradient(mean_loss, params.theta)
        losses, outputs = found.auxiliary
        log = {"loss": losses, **outputs[LOG]}
        stack = TaskStep({}, {**outputs, LOG: log})
        return TaskStep(found.gradient, merged_stack(stack, self.algorithm.merges).outputs)

    def predict(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        def one_task(*fields: Tensor) -> Tensor:
            return self.algorithm.predict(params, Episode(*fields), evaluation, self._ops)

        with torch.no_grad():
            return torch.func.vmap(one_task)(*episodes)
