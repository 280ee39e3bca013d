"""MAML, first-order MAML, MAML++, Meta-SGD, ANIL and BOIL: one algorithm of different parts.

Sources: Finn, Abbeel & Levine 2017 (MAML); Antoniou, Edwards & Storkey 2019 (MAML++); Li, Zhou,
Chen & Li 2017 (Meta-SGD); Raghu et al. 2020 (ANIL); Oh et al. 2021 (BOIL).
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
from maml_cli.core.functional import TwoKinds, detached, prefixed, section
from maml_cli.core.learner import MetaParameters, MetaStep
from maml_cli.core.recompute import Keep, keep_graph, keep_inputs
from maml_cli.core.schedules import Schedule, constant, cosine
from maml_cli.core.settings import STRICT, BatchNormStats, TrainSettings
from maml_cli.core.types import Episode, Progress, TaskSource, Tensors
from maml_cli.inner.descent import Descent
from maml_cli.inner.norm_rows import NormPerStep, SharedNorm
from maml_cli.inner.partition import Part, part_of
from maml_cli.inner.rates import ConstantRate, LearnedRates, Rates
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
        rates = section(params.theta, "inner_lr")
        return {n: rows.reshape(len(rows), -1).mean(1).tolist() for n, rows in rates.items()}


@settings(frozen=True, kw_only=True, config=STRICT)
class MAML:
    """The settings of the MAML family: each of MAML++'s six changes is one switch."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="gradient steps per episode")]
    inner_lr: Annotated[
        float,
        Field(ge=-10, le=10, description="inner learning rate; if learned, at the start"),
    ]
    inner_lr_max: Annotated[
        float | None,
        Field(le=10, description="learned rates start between inner_lr and this; null: at it"),
    ]
    adapts: Annotated[
        list[Part],
        Field(min_length=1, description="parts of the network that inner steps change"),
    ]
    order: Annotated[Literal[1, 2], Field(description="1: inner gradients count as constants")]
    msl: Annotated[bool, Field(description="multi-step loss")]
    msl_epochs: Annotated[int, Field(ge=1, description="epochs until the last step alone counts")]
    da: Annotated[bool, Field(description="derivative-order annealing: first order at first")]
    da_epochs: Annotated[int, Field(ge=0, description="epochs of first order")]
    bnrs: Annotated[bool, Field(description="batch-norm running statistics per step")]
    bnwb: Annotated[bool, Field(description="batch-norm weights and biases per step")]
    lslr: Annotated[bool, Field(description="learned inner rate per tensor and step")]
    rate_per_weight: Annotated[
        bool,
        Field(description="learned inner rate per weight; with lslr, per weight and step"),
    ]
    ca: Annotated[bool, Field(description="cosine annealing of the outer learning rate")]
    recompute: Annotated[
        bool,
        Field(description="inner steps again in the backward pass: less memory, slower"),
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        problems = experiment.train.check_annealing() if self.ca else []
        if self.da and self.order == 1:
            problems.append(
                "algo.da=true anneals to second order, but algo.order=1: "
                "set algo.order=2 or algo.da=false"
            )
        if self.bnwb and "norm" in self.adapts:
            problems.append(
                "algo.bnwb=true gives every inner step its own batch-norm weights, which an inner "
                "step of algo.adapts=[norm] would change for no later step: "
                "leave norm out of algo.adapts or set algo.bnwb=false"
            )
        if self.inner_lr_max is None:
            return problems
        if not (self.lslr or self.rate_per_weight):
            problems.append(
                f"algo.inner_lr_max={self.inner_lr_max} is where learned rates start, but none "
                "are learned: set algo.inner_lr_max=null, algo.lslr=true or "
                "algo.rate_per_weight=true"
            )
        if self.inner_lr_max < self.inner_lr:
            problems.append(
                f"algo.inner_lr_max={self.inner_lr_max} is below algo.inner_lr={self.inner_lr}: "
                "raise it or set it to null"
            )
        return problems

    @property
    def splits(self) -> bool:
        return True

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force, and what adapts."""
        names = ("msl", "da", "bnrs", "bnwb", "lslr", "ca", "rate_per_weight")
        return {
            **{name: getattr(self, name) for name in names},
            "second_order": self.order == 2,
            "adapts": " and ".join(self.adapts),
        }

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> GradientLearner:
        """Turn the switches into parts."""
        steps = self.inner_steps
        descent = Descent(
            forward=backbone.apply,
            objective=source.objective,
            rates=self._rates(),
            norm_rows=NormPerStep(steps) if self.bnwb else SharedNorm(),
            running_stats=RunningStats(rows=steps if self.bnrs else 1),
            adapts=lambda name: part_of(name) in self.adapts,
        )
        return GradientLearner(
            steps=steps,
            init_network=partial(backbone.init, source.input_shape, source.output_size),
            descent=descent,
            engine=engine,
            keep=keep_inputs if self.recompute else keep_graph,
            step_weights=multi_step(steps, self.msl_epochs) if self.msl else last_step(steps),
            order=first_order_until(self.da_epochs) if self.da else lambda _: self.order,
            outer_lr=cosine(train.outer_lr, train.min_outer_lr)
            if self.ca
            else constant(train.outer_lr),
        )

    def _rates(self) -> Rates:
        if not (self.lslr or self.rate_per_weight):
            return ConstantRate(self.inner_lr)
        return LearnedRates(
            low=self.inner_lr,
            high=self.inner_lr if self.inner_lr_max is None else self.inner_lr_max,
            rows=self.inner_steps if self.lslr else 1,
            per_weight=self.rate_per_weight,
        )


def first_order_until(epochs: int) -> Callable[[Progress], int]:
    """Order 1 for the first `epochs` epochs, then 2 (MAML++, "DA")."""
    return lambda progress: 1 if progress.epoch < epochs else 2
