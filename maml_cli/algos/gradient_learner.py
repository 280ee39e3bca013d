"""The learner of the MAML family: a start from which gradient descent adapts well.

Source: Finn, Abbeel & Levine 2017, algorithms 1 and 2; Antoniou, Edwards & Storkey 2019, section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from maml_cli.core.functional import TwoKinds, detached, prefixed, section
from maml_cli.core.learner import MetaParameters, MetaStep
from maml_cli.core.recompute import Keep
from maml_cli.core.schedules import Schedule
from maml_cli.core.types import Episode, Looks, Progress, Tensors
from maml_cli.engines.engine import Engine, Numerics
from maml_cli.inner.descent import Descent
from maml_cli.inner.step_weights import StepWeights


@dataclass(frozen=True, kw_only=True)
class GradientLearner:
    """Learns a start from which gradient descent on a support set does well on its queries.

    theta holds `model.*` and, if rates are learned, `inner_lr.*`; state holds `running.*`.
    """

    steps: int
    init_network: Callable[[torch.Generator], dict[str, Tensor]]
    descent: Descent
    engine: Engine
    keep: Keep
    """What remains of an inner step for the backward pass: its graph, or its inputs."""
    step_weights: StepWeights
    order: Callable[[Progress], int]
    outer_lr: Schedule

    def init(self, seed: int) -> MetaParameters:
        generator = torch.Generator().manual_seed(seed)
        network = self.init_network(generator)
        model = self.descent.norm_rows.init(network)
        rates = self.descent.rates.init(self.descent.adapted(model), generator)
        running = self.descent.running_stats.init(network)
        return MetaParameters(
            theta=prefixed(model, "model") | prefixed(rates, "inner_lr"),
            state=prefixed(running, "running"),
        )

    def optimizer(self, theta: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(theta)

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        """The gradient at theta of the mean over tasks of `sum_i w_i L_query(phi_i)`.

        Source: MAML, algorithm 2 (w is 1 for the last step); MAML++, equation 2 (MSL).
        """
        weights, order = self.step_weights(progress), self.order(progress)

        def task_loss(
            theta: Tensors, episode: Episode, numerics: Numerics
        ) -> tuple[Tensor, dict[str, Tensor]]:
            phi, loss, facts = theta, torch.zeros((), device=episode.query_x.device), []
            for step, weight in enumerate(weights):
                inner_step = partial(self._inner_step, step, numerics)
                moved, stats = self.keep(inner_step, phi, episode, order, numerics.pullback)
                phi = {**phi, **moved}
                fact: dict[str, Tensor] = {}
                if weight != 0:  # else nobody needs this look at the queries
                    look = partial(self._query_loss, step, numerics, episode)
                    query_loss, fact = numerics.settle(look, section(phi, "model"))
                    loss = loss + weight * query_loss
                    stats = {n: (s + fact[n]) / 2 for n, s in stats.items()}
                facts.append({**fact, **stats})
            kept = {n: torch.stack([f[n] for f in facts if n in f]) for n in facts[-1]}
            return loss, kept | {"loss": loss.detach()}

        gradient, kept = self.engine.mean_gradient(task_loss, params.theta, episodes)
        running = self.descent.running_stats.updated(
            section(params.state, "running"), section(kept, "stats")
        )
        return MetaStep(
            gradient=gradient,
            state=prefixed(running, "running"),
            loss=kept["loss"],
            query_loss=kept["query_loss"],
            query_metric=kept["query_metric"],
            query_steps=tuple(i for i, weight in enumerate(weights, start=1) if weight != 0),
        )

    def _inner_step(
        self, step: int, numerics: Numerics, theta: Tensors, episode: Episode, order: int
    ) -> TwoKinds:
        """The adapted parameters after one more inner step; the support set's `stats.*`."""
        adapted, stats = self.descent.step(
            section(theta, "model"),
            section(theta, "inner_lr"),
            episode,
            step,
            order=order,
            numerics=numerics,
            norm=numerics.batch_stats(),
        )
        return prefixed(self.descent.adapted(adapted), "model"), prefixed(stats, "stats")

    def _query_loss(
        self, step: int, numerics: Numerics, episode: Episode, phi: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss on the queries after an inner step; what to record, and their `stats.*`."""
        norm = numerics.batch_stats()
        outputs = self.descent.query(phi, episode, step, norm)
        loss = self.descent.objective.loss(outputs, episode.query_y)
        metric = self.descent.objective.metric(outputs.detach(), episode.query_y)
        facts = {"query_loss": loss.detach(), "query_metric": metric}
        return loss, facts | prefixed(norm.collected, "stats")

    def predict(self, params: MetaParameters, episodes: Episode, looks: Looks) -> Tensor:
        theta = detached(params.theta)

        def outputs(episode: Episode, numerics: Numerics) -> Tensor:
            return self.descent.predict(
                section(theta, "model"),
                section(theta, "inner_lr"),
                section(params.state, "running"),
                episode,
                looks=looks,
                numerics=numerics,
            )

        return self.engine.map(outputs, episodes)

    def inner_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        rates = section(params.theta, "inner_lr")
        return {n: rows.reshape(len(rows), -1).mean(1).tolist() for n, rows in rates.items()}
