"""The inner loop: from theta to adapted parameters phi on a support set, step by step.

Its parts: where a task begins (start), what a step sees of the support set (feed), what the network
is handed (view), what a step does with a gradient (update rule), what normalises (norm policy), and
what remains of a step for the backward pass (checkpointing).
"""

from dataclasses import dataclass

from torch import Generator, Tensor

from maml_cli.core.algorithm import MetaParameters, Ops, Sections
from maml_cli.core.types import Episode
from maml_cli.inner.adaptation import Adaptation, Point
from maml_cli.inner.norm_policies import NormPolicy
from maml_cli.inner.parts import Parts


@dataclass(frozen=True, kw_only=True)
class InnerLoop(Parts):
    """Begins tasks from the meta-parameters."""

    def init(self, outputs: int, generator: Generator) -> Sections:
        """Fresh meta-parameters: the sections `model` and, if anything is, what is `learned`."""
        body = self.network.init(generator)
        model = self.view.init(body | self.network.init_head(outputs, generator), generator)
        learned = self.rule.init(self.adapted(self.view.start(model)), generator)
        return {"model": model} | ({self.learned: learned} if learned else {})

    def begin(
        self,
        params: MetaParameters,
        episode: Episode,
        ops: Ops,
        *,
        policy: NormPolicy,
        order: int,
        memory: Sections | None = None,
        before: int | Tensor = 0,
    ) -> Adaptation:
        """The start of one task; `memory` is the update rule's, unless it begins anew.

        With `order` 2 the inner gradients are differentiable, with 1 they are constants. The feed
        goes on after `before` steps.
        """
        model = self.view.start(self.start(params.theta, episode))
        phi = self.adapted(model)
        rest = {n: p for n, p in model.items() if n not in phi}
        return Adaptation(
            parts=self,
            episode=episode,
            ops=ops,
            policy=policy,
            order=order,
            learned=params.theta.get(self.learned, {}),
            running=params.state.get("running", {}),
            rest=rest,
            start=Point(phi, self.rule.memory(phi) if memory is None else memory),
            before=before,
        )
