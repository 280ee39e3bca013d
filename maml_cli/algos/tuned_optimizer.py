"""Optimisers made by hand, with the rate that is best on training problems.

Source: Andrychowicz et al. 2016, section 3: the baselines.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.algos.problem_solver import (
    BATCHED,
    POLICY,
    RULE,
    ProblemSolver,
    SolverSettings,
    solving_loop,
)
from maml_cli.core.algorithm import LOG, Merge, MetaParameters, Ops, Phase, Sections, TaskStep
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.problems import Problems
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import Episode, Progress, TaskSource
from maml_cli.inner.directions import DIRECTIONS
from maml_cli.inner.rates import GivenRate
from maml_cli.inner.update_rules import Descent

GRID = "grid"


@dataclass(frozen=True, kw_only=True)
class TunedOptimizerLearner(ProblemSolver):
    """Tries every rate of a grid on each training problem, and uses the best one.

    The best is that of the smallest mean loss after the last step; a run that ends with no finite
    loss counts as infinite. state holds `grid`, the sum of those losses for each rate. theta is one
    number that stays as it is: no gradient learns anything here.
    """

    rates: tuple[float, ...]
    merges: ClassVar[Mapping[str, Merge]] = {GRID: "mean"}

    def init(self, seed: int) -> MetaParameters:
        return MetaParameters(
            theta={RULE: {"unused": torch.zeros(())}},
            state={GRID: {"loss": torch.zeros(len(self.rates))}},
        )

    def outer_lr(self, progress: Progress) -> float:
        return 0.0

    def task(self, params: MetaParameters, episode: Episode, phase: Phase, ops: Ops) -> TaskStep:
        """The loss of a training problem after the last step, by each rate."""
        unused = params.theta[RULE]["unused"]

        def last_loss(rate: Tensor) -> Tensor:
            at = MetaParameters(theta={RULE: {"rate": rate}}, state={})
            task = self.inner.begin(at, episode, BATCHED, policy=POLICY, order=1)
            return task.losses((self.steps,))[0]

        losses = torch.func.vmap(last_loss)(self._grid(unused))
        losses = torch.where(losses.isfinite(), losses, math.inf)
        best = losses.min()
        log = {"loss": best, "query_loss": best.unsqueeze(0), "query_metric": best.unsqueeze(0)}
        gradient = {RULE: {"unused": torch.zeros_like(unused)}}
        return TaskStep(gradient, {LOG: log, GRID: {"loss": losses}})

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        return {GRID: {"loss": state[GRID]["loss"] + outputs[GRID]["loss"]}}

    def in_use(self, params: MetaParameters) -> Sections:
        losses = params.state[GRID]["loss"]
        best = self._grid(losses).index_select(0, losses.argmin().unsqueeze(0))
        return {RULE: {"rate": best.squeeze(0)}}

    def _grid(self, like: Tensor) -> Tensor:
        return torch.tensor(self.rates, dtype=like.dtype, device=like.device)

    def learned_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        return {"all": [self._best(params)]}

    def _best(self, params: MetaParameters) -> float:
        return self.rates[int(params.state[GRID]["loss"].argmin())]

    def remarks(self, params: MetaParameters) -> tuple[str, ...]:
        best = self._best(params)
        said = (
            f"rate {best:.4g}, the best of {len(self.rates)} from {self.rates[0]:.4g} to "
            f"{self.rates[-1]:.4g} by the loss after {self.steps} steps on training problems"
        )
        if best in (self.rates[0], self.rates[-1]):
            said += "; it is at the end of the grid: a better one may lie beyond"
        return (said,)


@settings(frozen=True, kw_only=True, config=STRICT)
class TunedOptimizer(SolverSettings):
    """The settings of an optimiser made by hand."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=100_000, description="steps on each problem")]
    optimizer: Annotated[
        Literal["sgd", "momentum", "nesterov", "rmsprop", "adam"],
        Field(description="momentum and nesterov: 0.9; others with torch's constants"),
    ]
    rate_min: Annotated[float, Field(gt=0, le=1000, description="the grid's smallest rate")]
    rate_max: Annotated[float, Field(gt=0, le=1000, description="the grid's largest rate")]
    rates_per_decade: Annotated[int, Field(ge=1, le=1000, description="evenly in the logarithm")]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        if self.rate_max > self.rate_min:
            return super().check(experiment)
        return [
            *super().check(experiment),
            f"algo.rate_max={self.rate_max} is not above algo.rate_min={self.rate_min}: raise it",
        ]

    def toggles(self) -> dict[str, bool | str]:
        """The grid."""
        return {"grid": f"{self.rate_min:g} to {self.rate_max:g}, {self.rates_per_decade} a decade"}

    def build(
        self, network: Network, source: TaskSource, train: TrainSettings
    ) -> TunedOptimizerLearner:
        """Turn the settings into parts."""
        rule = Descent(direction=DIRECTIONS[self.optimizer], rates=GivenRate())
        low, high = (math.log10(rate) for rate in (self.rate_min, self.rate_max))
        count = 1 + math.ceil(round((high - low) * self.rates_per_decade, 6))
        exponents = [low + i / self.rates_per_decade for i in range(count)]
        return TunedOptimizerLearner(
            steps=self.inner_steps,
            inner=solving_loop(cast("Problems", source), rule),
            rates=tuple(10**e for e in exponents),
        )
