"""The learner of the MAML family: a start from which gradient descent adapts well.

Source: Finn, Abbeel & Levine 2017, algorithms 1 and 2; Antoniou, Edwards & Storkey 2019, section 4.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maml_cli.algos.adapting import Adapting
from maml_cli.core.algorithm import LOG, Algorithm, Merge, MetaParameters, Ops, Sections
from maml_cli.core.schedules import Schedule
from maml_cli.core.types import Episode, Evaluation, Progress, Tensors
from maml_cli.inner.adaptation import Adaptation, Point
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.norm_policies import ByBatch, ByRunningInputs, NormPolicy, norm_policy
from maml_cli.inner.outer_loss import InnerLoopPhase

STATISTICS = "statistics"

Penalty = Callable[[Adaptation, Point, int, Ops], Tensor]
"""Takes a task, its point after some inner step, that step's number (from 0), and `ops`."""


@dataclass(frozen=True, kw_only=True)
class GradientLearner(Adapting, Algorithm):
    """Learns a start from which gradient descent on a support set does well on its queries.

    theta holds `model` and, if rates are learned, `inner_lr`; state holds the running statistics
    that training with `train.bn_stats=running` gathers, else nothing.
    """

    steps: int
    outputs: int
    inner: InnerLoop
    schedule: Callable[[Progress], InnerLoopPhase]
    outer_lr_schedule: Schedule
    penalty: Penalty | None = None
    """A term of the outer loss at the adapted parameters, beside the query loss."""
    merges: ClassVar[Mapping[str, Merge]] = {STATISTICS: "mean"}

    def init(self, seed: int) -> MetaParameters:
        theta = self.inner.init(self.outputs, torch.Generator().manual_seed(seed))
        averages = self.inner.averages
        state = {} if averages is None else averages.init(self.inner.network)
        return MetaParameters(theta=theta, state=state)

    def outer_lr(self, progress: Progress) -> float:
        return self.outer_lr_schedule(progress)

    def phase(self, progress: Progress) -> InnerLoopPhase:
        return self.schedule(progress)

    def query_steps(self, phase: InnerLoopPhase) -> tuple[int, ...]:
        return tuple(i for i, weight in enumerate(phase.step_weights, start=1) if weight)

    def loss(
        self, params: MetaParameters, episode: Episode, phase: InnerLoopPhase, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """`sum_i w_i L_query(phi_i)`, where phi_i is theta after i steps on the support set.

        Source: MAML, algorithm 2 (w is 1 for the last step); MAML++, equation 2 (MSL).
        """
        policy = self._policy(phase.bn_stats)
        task = self.inner.begin(params, episode, ops, policy=policy, order=phase.order)
        point, loss = task.start, torch.zeros((), device=episode.query_x.device)
        logs, statistics = [], []
        for step, weight in enumerate(phase.step_weights):
            point = task.step(point, step)
            if weight:
                scored = task.score(point, step)
                loss = loss + weight * scored.loss
                logs.append(scored.log)
                statistics.append(scored.statistics)
            elif policy.gathers:
                statistics.append(task.gather(point, step))
        if self.penalty is not None:
            loss = loss + self.penalty(task, point, len(phase.step_weights) - 1, ops)
        outputs = {LOG: stacked(logs), **self.told(point)}
        return loss, outputs | ({STATISTICS: stacked(statistics)} if policy.gathers else {})

    def told(self, point: Point) -> Sections:
        """Other outputs of a task, from where its last step led; `merges` declares them."""
        return {}

    def _policy(self, bn_stats: str) -> NormPolicy:
        """What normalises in training; before running statistics are used, they are gathered."""
        if self.inner.averages is not None and bn_stats == "batch":
            return ByBatch(gathers=True)
        return norm_policy(bn_stats, ByRunningInputs())

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        averages = self.inner.averages
        return state if averages is None else averages.updated(state, outputs[STATISTICS])

    def begun(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Adaptation:
        policy = norm_policy(evaluation.bn_stats, ByRunningInputs())
        return self.inner.begin(params.constant(), episode, ops, policy=policy, order=1)

    def learned_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        return self.inner.rule.learned_rates(params.theta.get(self.inner.learned, {}))


def stacked(steps: Sequence[Tensors]) -> dict[str, Tensor]:
    """One row per step."""
    return {n: torch.stack([tensors[n] for tensors in steps]) for n in steps[-1]}
