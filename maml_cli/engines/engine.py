"""The seam between an algorithm, which describes one task, and whatever runs a batch of tasks."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

from maml_cli.core.batch_norm import Norm
from maml_cli.core.functional import InnerGradient, Pullback, Settle
from maml_cli.core.types import Episode, Tensors


class Numerics(NamedTuple):
    """How an engine computes what every task needs."""

    inner_gradient: InnerGradient
    pullback: Pullback
    settle: Settle
    batch_stats: Callable[[], Norm]
    """A fresh normalisation by batch statistics."""


TaskLoss = Callable[[Tensors, Episode, Numerics], tuple[Tensor, dict[str, Tensor]]]
"""One task's outer loss at theta, a scalar, and named tensors to be averaged over the tasks."""

TaskMap = Callable[[Episode, Numerics], Tensor]
"""Anything computed from one task."""

TaskTensors = Callable[[Episode, Numerics], dict[str, Tensor]]
"""Named tensors computed from one task, to be averaged over the tasks."""


class Engine(Protocol):
    """Runs a function of one task over a batch of tasks."""

    name: str

    def mean_gradient(
        self, task_loss: TaskLoss, theta: Tensors, episodes: Episode
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The gradient at theta of the tasks' mean loss, and the means of what they kept."""
        ...

    def mean(self, function: TaskTensors, episodes: Episode) -> dict[str, Tensor]:
        """The means over the tasks of the function's tensors, as constants."""
        ...

    def map(self, function: TaskMap, episodes: Episode) -> Tensor:
        """The function's values on every task, stacked."""
        ...
