"""MAML, first-order MAML and MAML++: one algorithm, assembled from different parts.

Sources: Finn, Abbeel & Levine 2017 (MAML); Antoniou, Edwards & Storkey 2019 (MAML++).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.core.engine import Engine, Numerics
from maml_cli.core.experiment import Backbone, Experiment
from maml_cli.core.functional import detached, prefixed, section
from maml_cli.core.learner import MetaParameters, MetaStep
from maml_cli.core.schedules import Schedule, constant, cosine
from maml_cli.core.settings import STRICT, BatchNormStats, TrainSettings
from maml_cli.core.types import Episode, Progress, TaskSource, Tensors
from maml_cli.inner.descent import Descent
from maml_cli.inner.norm_rows import NormPerStep, SharedNorm, is_norm
from maml_cli.inner.rates import ConstantRate, RatePerTensorAndStep
from maml_cli.inner.running_stats import RunningStats
from maml_cli.inner.step_weights import StepWeights, last_step, multi_step


@dataclass(frozen=True, kw_only=True)
class GradientLearner:
    """Learns a start from which gradient descent on a support set does well on its queries.

    theta holds `model.*` and, if rates are learned, `inner_lr.*`; state holds `running.*`.
    """

    steps: int
    init_network: Callable[[torch.Generator], dict[str, Tensor]]
    descent: Descent
    engine: Engine
    step_weights: StepWeights
    order: Callable[[Progress], int]
    outer_lr: Schedule

    def init(self, seed: int) -> MetaParameters:
        network = self.init_network(torch.Generator().manual_seed(seed))
        model = self.descent.norm_rows.init(network)
        rates = self.descent.rates.init(self.descent.adapted(network))
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
            phis = self.descent.unroll(
                section(theta, "model"),
                section(theta, "inner_lr"),
                episode,
                steps=self.steps,
                order=order,
                numerics=numerics,
                norm_at=lambda _: numerics.batch_stats(),
            )
            loss = torch.zeros((), device=episode.query_x.device)
            losses, metrics, stats = [], [], []
            for step, (weight, (phi, support_stats)) in enumerate(zip(weights, phis, strict=True)):
                if weight == 0:
                    stats.append(support_stats)
                    continue
                norm = numerics.batch_stats()
                outputs = self.descent.query(phi, episode, step, norm)
                query_loss = self.descent.objective.loss(outputs, episode.query_y)
                loss = loss + weight * query_loss
                losses.append(query_loss.detach())
                metrics.append(self.descent.objective.metric(outputs.detach(), episode.query_y))
                stats.append({n: (s + norm.collected[n]) / 2 for n, s in support_stats.items()})
            kept = {
                "loss": loss.detach(),
                "query_loss": torch.stack(losses),
                "query_metric": torch.stack(metrics),
            }
            per_step = {n: torch.stack([s[n] for s in stats]) for n in stats[0]}
            return loss, kept | prefixed(per_step, "stats")

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

    def predict(
        self, params: MetaParameters, episodes: Episode, steps: int, bn_stats: BatchNormStats
    ) -> Tensor:
        theta = detached(params.theta)

        def outputs(episode: Episode, numerics: Numerics) -> Tensor:
            return self.descent.predict(
                section(theta, "model"),
                section(theta, "inner_lr"),
                section(params.state, "running"),
                episode,
                steps=steps,
                bn_stats=bn_stats,
                numerics=numerics,
            )

        return self.engine.map(outputs, episodes)

    def inner_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        return {n: rate.tolist() for n, rate in section(params.theta, "inner_lr").items()}


@settings(frozen=True, kw_only=True, config=STRICT)
class MAML:
    """The settings of the MAML family: each of MAML++'s six changes is one switch."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="gradient steps per episode")]
    inner_lr: Annotated[
        float,
        Field(ge=-10, le=10, description="inner learning rate (lslr: at the start)"),
    ]
    order: Annotated[Literal[1, 2], Field(description="1: inner gradients count as constants")]
    msl: Annotated[bool, Field(description="multi-step loss")]
    msl_epochs: Annotated[int, Field(ge=1, description="epochs until the last step alone counts")]
    da: Annotated[bool, Field(description="derivative-order annealing: first order at first")]
    da_epochs: Annotated[int, Field(ge=0, description="epochs of first order")]
    bnrs: Annotated[bool, Field(description="batch-norm running statistics per step")]
    bnwb: Annotated[bool, Field(description="batch-norm weights and biases per step")]
    lslr: Annotated[bool, Field(description="learned inner rate per tensor and step")]
    ca: Annotated[bool, Field(description="cosine annealing of the outer learning rate")]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        if self.da and self.order == 1:
            return [
                "algo.da=true anneals to second order, but algo.order=1: "
                "set algo.order=2 or algo.da=false"
            ]
        return []

    def toggles(self) -> dict[str, bool]:
        """The switches of MAML++ in force."""
        names = ("msl", "da", "bnrs", "bnwb", "lslr", "ca")
        return {name: getattr(self, name) for name in names} | {"second_order": self.order == 2}

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> GradientLearner:
        """Turn the switches into parts."""
        steps = self.inner_steps
        descent = Descent(
            forward=backbone.apply,
            objective=source.objective,
            rates=RatePerTensorAndStep(self.inner_lr, steps)
            if self.lslr
            else ConstantRate(self.inner_lr),
            norm_rows=NormPerStep(steps) if self.bnwb else SharedNorm(),
            running_stats=RunningStats(rows=steps if self.bnrs else 1),
            adapts=lambda name: not is_norm(name),
        )
        return GradientLearner(
            steps=steps,
            init_network=partial(backbone.init, source.input_shape, source.output_size),
            descent=descent,
            engine=engine,
            step_weights=multi_step(steps, self.msl_epochs) if self.msl else last_step(steps),
            order=first_order_until(self.da_epochs) if self.da else lambda _: self.order,
            outer_lr=cosine(train.outer_lr, train.min_outer_lr)
            if self.ca
            else constant(train.outer_lr),
        )


def first_order_until(epochs: int) -> Callable[[Progress], int]:
    """Order 1 for the first `epochs` epochs, then 2 (MAML++, "DA")."""
    return lambda progress: 1 if progress.epoch < epochs else 2
