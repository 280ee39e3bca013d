"""Learning to learn by gradient descent by gradient descent: an LSTM as optimiser.

Source: Andrychowicz et al. 2016, and the official code.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor
from torch.utils._pytree import tree_map

from maml_cli.algos.problem_solver import (
    BATCHED,
    POLICY,
    RULE,
    ProblemSolver,
    SolverSettings,
    solving_loop,
)
from maml_cli.core.algorithm import LOG, MetaParameters, Ops, Phase, Sections
from maml_cli.core.autodiff import detached
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.problems import Problems
from maml_cli.core.schedules import Schedule, cosine, outer_rate
from maml_cli.core.settings import STRICT, OnlyWith, TrainSettings
from maml_cli.core.types import Episode, Progress, TaskSource, Tensors
from maml_cli.inner.adaptation import Adaptation, Point
from maml_cli.inner.learned_optimizer import LearnedOptimizer

PHI = "phi"


@dataclass(frozen=True, kw_only=True)
class LSTMOptimizerLearner(ProblemSolver):
    """Learns an update rule by the losses on the way, over unrolls of `unroll` steps.

    A batch of problems is solved for `steps` steps, an unroll at each meta-update. theta holds
    `optimizer`, the weights; state holds `phi` and the rule's memory, a row for each problem: they
    go from unroll to unroll as constants.
    """

    unroll: int
    order: int
    tasks: int
    start: Tensors
    """Where some problem begins, for the shapes."""
    outer_lr_schedule: Schedule
    together = True
    carried: ClassVar[tuple[str, ...]] = (PHI, "hidden", "cell")

    def init(self, seed: int) -> MetaParameters:
        learned = self.inner.rule.init(self.start, torch.Generator().manual_seed(seed))
        rows = {PHI: self.start, **self.inner.rule.memory(self.start)}
        state = tree_map(lambda t: t.new_zeros(self.tasks, *t.shape), rows)
        return MetaParameters(theta={RULE: learned}, state=state)

    def outer_lr(self, progress: Progress) -> float:
        return self.outer_lr_schedule(progress)

    def batch_number(self, iteration: int) -> int:
        return iteration // (self.steps // self.unroll)

    def inputs(self, progress: Progress) -> dict[str, float]:
        """`before`: the steps that the problems at hand have behind them."""
        return {"before": progress.iteration % (self.steps // self.unroll) * self.unroll}

    def query_steps(self, phase: Phase) -> tuple[int, ...]:
        return (self.unroll,)

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Phase, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """The sum of the losses on the way, both ends included; the mean over the problems.

        With order 1, gradients and losses that the rule sees count as constants (section 2.1).
        """

        def one(carried: Sections, *fields: Tensor) -> tuple[Tensor, Sections]:
            return self._unrolled(params, carried, Episode(*fields))

        losses, carried = torch.func.vmap(one)(params.state, *episode)
        mean = losses.detach().mean().unsqueeze(0)
        log = {"query_loss": mean, "query_metric": mean}
        return losses.sum(1).mean(), {LOG: log, **detached(carried)}

    def _unrolled(
        self, params: MetaParameters, carried: Sections, problem: Episode
    ) -> tuple[Tensor, Sections]:
        """The losses of one problem, `(unroll + 1,)`, and what is carried to the next unroll."""
        before = params.inputs["before"]
        task = self.inner.begin(
            params, problem, BATCHED, policy=POLICY, order=self.order, before=before
        )
        point, losses = self._at(before, task, carried), []
        for number in range(self.unroll):
            point, loss = task.descend(point, number)
            losses.append(loss)
        losses.append(task.support_loss(point, self.unroll))
        return torch.stack(losses), {PHI: dict(point.phi), **point.memory}

    def _at(self, before: Tensor, task: Adaptation, carried: Sections) -> Point:
        """The start of the problem before its first step, else where the last unroll left it."""
        fresh = {PHI: task.start.phi, **task.start.memory}
        at = tree_map(lambda new, old: torch.where(before == 0, new, old), fresh, carried)
        return Point(at.pop(PHI), at)

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        return {section: outputs[section] for section in state}

    def in_use(self, params: MetaParameters) -> Sections:
        theta: Sections = detached(params.theta)
        return theta


@settings(frozen=True, kw_only=True, config=STRICT)
class LSTMOptimizer(SolverSettings):
    """The settings of the learned optimiser."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=100_000, description="steps on each problem")]
    unroll: Annotated[int, Field(ge=1, le=1000, description="steps per meta-update")]
    layers: Annotated[int, Field(ge=0, le=8, description="of the LSTM; 0: linear in the gradient")]
    units: Annotated[int, Field(ge=1, le=1000, description="of each layer"), OnlyWith("layers")]
    preprocessing: Annotated[
        float | None,
        Field(gt=0, le=80, description="p: gradients as logarithm and sign; null: as they are"),
    ]
    scale: Annotated[float, Field(gt=0, le=1000, description="factor of the LSTM's outputs")]
    by_kind: Annotated[
        bool, Field(description="one LSTM for the kernels of convolutions, one for all others")
    ]
    order: Annotated[Literal[1, 2], Field(description="1: gradients count as constants")]
    ca: Annotated[bool, Field(description="cosine annealing of the outer learning rate")]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        problems = super().check(experiment)
        if self.inner_steps % self.unroll:
            problems.append(
                f"algo.inner_steps={self.inner_steps} is no multiple of algo.unroll={self.unroll}: "
                "a problem is solved in unrolls of equal length"
            )
        return problems

    @property
    def anneals(self) -> bool:
        """With `ca`."""
        return self.ca

    @property
    def together(self) -> bool:
        """See `Algorithm.together`: a problem goes on where the unroll before left it."""
        return True

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {
            "preprocessing": "none" if self.preprocessing is None else f"p={self.preprocessing:g}",
            "scale": f"{self.scale:g}",
            "unroll": str(self.unroll),
            "second_order": self.order == 2,
            "by_kind": self.by_kind,
            "ca": self.ca,
        }

    def build(
        self, network: Network, source: TaskSource, train: TrainSettings
    ) -> LSTMOptimizerLearner:
        """Turn the settings into parts."""
        problems = cast("Problems", source)
        rule = LearnedOptimizer(
            layers=self.layers,
            units=self.units,
            preprocessing=self.preprocessing,
            scale=self.scale,
            by_kind=self.by_kind,
        )
        annealed = cosine(train.outer_lr, train.min_outer_lr)
        return LSTMOptimizerLearner(
            steps=self.inner_steps,
            inner=solving_loop(problems, rule),
            unroll=self.unroll,
            order=self.order,
            tasks=train.tasks_per_batch,
            start={n: t.float() for n, t in problems.start(torch.zeros(2).long()).items()},
            outer_lr_schedule=annealed if self.ca else outer_rate(train),
        )
