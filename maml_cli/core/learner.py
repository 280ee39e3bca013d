"""The one seam between the algorithms and everything that trains, saves and evaluates them."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from maml_cli.core.types import Episode, Looks, Progress


@dataclass(frozen=True, kw_only=True)
class MetaParameters:
    """Everything that is learned: `theta` by gradient, `state` by other rules (running statistics).

    Both are flat dictionaries of tensors; they are trained, saved, restored and evaluated alike.
    """

    theta: dict[str, Tensor]
    state: dict[str, Tensor]

    def to(self, device: torch.device) -> "MetaParameters":
        """The same values on a device."""
        return MetaParameters(
            theta={n: t.to(device) for n, t in self.theta.items()},
            state={n: t.to(device) for n, t in self.state.items()},
        )


@dataclass(frozen=True, kw_only=True)
class MetaStep:
    """What one batch of episodes says about the meta-parameters.

    `gradient` is keyed as theta; `loss` is the outer loss, a scalar; `query_loss` and
    `query_metric` are means over the tasks, one value for each of `query_steps`: the inner steps
    (from 1, ascending) after which the query set was looked at.
    """

    gradient: dict[str, Tensor]
    state: dict[str, Tensor]
    loss: Tensor
    query_loss: Tensor
    query_metric: Tensor
    query_steps: tuple[int, ...]


class PlainInnerLoop:
    """What a learner has to say of an inner loop in which nothing is learned or annealed."""

    def inner_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        """None are learned."""
        return {}

    def step_weights(self, progress: Progress) -> list[float]:
        """No query loss after an inner step counts."""
        return []

    def order(self, progress: Progress) -> int:
        """Inner gradients count as constants, always."""
        return 1


class Learner(Protocol):
    """An algorithm, assembled for one network, objective and engine."""

    steps: int
    """Inner steps in training."""

    def init(self, seed: int) -> MetaParameters:
        """Fresh meta-parameters; the same seed gives the same ones."""
        ...

    def optimizer(self, theta: list[Tensor]) -> torch.optim.Optimizer:
        """The outer optimiser; its learning rate is set before every step from `outer_lr`."""
        ...

    def outer_lr(self, progress: Progress) -> float:
        """The outer learning rate at this point of training."""
        ...

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        """What the outer optimiser should descend along, from a batch of episodes."""
        ...

    def predict(self, params: MetaParameters, episodes: Episode, looks: Looks) -> Tensor:
        """Query outputs at each look, `(tasks, looks, queries, outputs)`."""
        ...

    def inner_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        """The learned inner rates per tensor and step, to log; empty if none are learned."""
        ...

    def step_weights(self, progress: Progress) -> list[float]:
        """The weight of the query loss after each inner step, to log."""
        ...

    def order(self, progress: Progress) -> int:
        """1 where inner gradients count as constants, 2 where they are differentiated."""
        ...


class LearnerAround:
    """A learner that is another one, but for what it computes in its own way."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.steps = learner.steps

    def init(self, seed: int) -> MetaParameters:
        return self._learner.init(seed)

    def optimizer(self, theta: list[Tensor]) -> torch.optim.Optimizer:
        return self._learner.optimizer(theta)

    def outer_lr(self, progress: Progress) -> float:
        return self._learner.outer_lr(progress)

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        return self._learner.meta_gradient(params, episodes, progress)

    def predict(self, params: MetaParameters, episodes: Episode, looks: Looks) -> Tensor:
        return self._learner.predict(params, episodes, looks)

    def inner_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        return self._learner.inner_rates(params)

    def step_weights(self, progress: Progress) -> list[float]:
        return self._learner.step_weights(progress)

    def order(self, progress: Progress) -> int:
        return self._learner.order(progress)
