"""The learner of the MAML family whose meta-gradient does not pass the inner steps (iMAML).

Source: Rajeswaran, Finn, Kakade & Levine 2019, algorithms 1 and 2.
"""

from dataclasses import dataclass

from torch import Tensor

from maml_cli.algos.gradient_learner import STATISTICS, GradientLearner, stacked
from maml_cli.core.algorithm import LOG, MetaParameters, Ops, Sections
from maml_cli.core.types import Episode
from maml_cli.inner.adaptation import Adaptation, Point
from maml_cli.inner.implicit import Implicit
from maml_cli.inner.outer_loss import InnerLoopPhase


@dataclass(frozen=True, kw_only=True)
class ImplicitLearner(GradientLearner):
    """Learns a start from which descent with a proximal term does well on the queries."""

    implicit: Implicit

    def loss(
        self, params: MetaParameters, episode: Episode, phase: InnerLoopPhase, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """`L_query(phi*)`, where `phi* = argmin L_support(phi) + lambda/2 |phi - theta|^2`."""
        policy = self._policy(phase.bn_stats)

        def begin(theta: Sections, episode: Episode, order: int) -> Adaptation:
            at = MetaParameters(theta=theta, state=params.state)
            return self.inner.begin(at, episode, ops, policy=policy, order=order)

        phi = self.implicit.solution(begin, params, episode, ops.autodiff)
        task = begin(params.theta, episode, 1)
        scored = task.score(Point(phi, {}), self.steps - 1)
        outputs = {LOG: stacked([scored.log])}
        if policy.gathers:
            outputs[STATISTICS] = stacked([scored.statistics])
        return scored.loss, outputs
