"""The learner of the MAML family: a start from which gradient descent adapts well.

Source: Finn, Abbeel & Levine 2017, algorithms 1 and 2; Antoniou, Edwards & Storkey 2019, section 4.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maml_cli.core.algorithm import LOG, Algorithm, Merge, MetaParameters, Ops, Sections
from maml_cli.core.autodiff import detached
from maml_cli.core.schedules import Schedule
from maml_cli.core.types import Episode, Evaluation, Progress, Tensors
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.norm_policies import ByRunning, NormPolicy, norm_policy
from maml_cli.inner.outer_loss import InnerLoopPhase

STATISTICS = "statistics"


@dataclass(frozen=True, kw_only=True)
class GradientLearner(Algorithm):
    """Learns a start from which gradient descent on a support set does well on its queries.

    theta holds `model` and, if rates are learned, `inner_lr`; state holds `running`.
    """

    steps: int
    outputs: int
    inner: InnerLoop
    policy: NormPolicy
    """What normalises in training."""
    schedule: Callable[[Progress], InnerLoopPhase]
    outer_lr_schedule: Schedule
    merges: ClassVar[Mapping[str, Merge]] = {STATISTICS: "mean"}

    def init(self, seed: int) -> MetaParameters:
        theta = self.inner.init(self.outputs, torch.Generator().manual_seed(seed))
        return MetaParameters(theta=theta, state={"running": self.inner.init_running()})

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
        task = self.inner.begin(params, episode, ops, policy=self.policy, order=phase.order)
        point, loss = task.start, torch.zeros((), device=episode.query_x.device)
        logs, statistics = [], []
        for step, weight in enumerate(phase.step_weights):
            point = task.step(point, step)
            passed = point.statistics
            if weight:
                scored = task.score(point, step)
                loss = loss + weight * scored.loss
                logs.append(scored.log)
                passed = {n: (s + scored.statistics[n]) / 2 for n, s in passed.items()}
            statistics.append(passed)
        return loss, {LOG: _stacked(logs), STATISTICS: _stacked(statistics)}

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        running = state.get("running", {})
        return {"running": self.inner.running_stats.updated(running, outputs[STATISTICS])}

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        fixed = MetaParameters(theta=detached(params.theta), state=params.state)
        policy = norm_policy(evaluation.bn_stats, ByRunning(support=False))
        task = self.inner.begin(fixed, episode, ops, policy=policy, order=1)
        return task.predict(evaluation.after)

    def learned_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        return self.inner.rule.learned_rates(params.theta.get("inner_lr", {}))


def _stacked(steps: Sequence[Tensors]) -> dict[str, Tensor]:
    return {n: torch.stack([tensors[n] for tensors in steps]) for n in steps[-1]}
