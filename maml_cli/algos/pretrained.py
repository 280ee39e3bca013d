"""Baselines that learn one function for all tasks, or none, and then adapt by gradient descent.

Source: Finn, Abbeel & Levine 2017, section 5.1: the pretrained network, and the oracle, which is
one whose inputs tell the task.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.algos.maml import GradientLearner
from maml_cli.core.engine import Engine, Numerics
from maml_cli.core.experiment import Backbone, Experiment
from maml_cli.core.functional import prefixed, section
from maml_cli.core.learner import MetaParameters, MetaStep
from maml_cli.core.schedules import Schedule, constant
from maml_cli.core.settings import STRICT, BatchNormStats, TrainSettings
from maml_cli.core.types import Episode, Progress, TaskSource, Tensors
from maml_cli.inner.descent import Descent
from maml_cli.inner.norm_rows import SharedNorm
from maml_cli.inner.partition import part_of
from maml_cli.inner.rates import ConstantRate
from maml_cli.inner.running_stats import RunningStats
from maml_cli.inner.step_weights import last_step


@dataclass(frozen=True, kw_only=True)
class PretrainedLearner:
    """Fits the support sets of all tasks at once, without a thought of adapting later.

    What it starts from, holds and does in evaluation is `adapting`'s.
    """

    adapting: GradientLearner
    outer_lr: Schedule

    @property
    def steps(self) -> int:
        """Inner steps; there are none in training."""
        return self.adapting.steps

    def init(self, seed: int) -> MetaParameters:
        return self.adapting.init(seed)

    def optimizer(self, theta: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(theta)

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        """The gradient at theta of the mean over tasks of `L_support(theta)`.

        The queries are looked at, before any inner step, for the record only.
        """
        descent = self.adapting.descent

        def task_loss(
            theta: Tensors, episode: Episode, numerics: Numerics
        ) -> tuple[Tensor, dict[str, Tensor]]:
            network, norm = section(theta, "model"), numerics.batch_stats()
            outputs = descent.forward(network, episode.support_x, norm)
            loss = descent.objective.loss(outputs, episode.support_y)
            queried = descent.query(network, episode, 0, numerics.batch_stats()).detach()
            kept = {
                "loss": loss.detach(),
                "query_loss": descent.objective.loss(queried, episode.query_y),
                "query_metric": descent.objective.metric(queried, episode.query_y),
            }
            return loss, kept | prefixed(norm.collected, "stats")

        gradient, kept = self.adapting.engine.mean_gradient(task_loss, params.theta, episodes)
        stats = {n: t.unsqueeze(0) for n, t in section(kept, "stats").items()}
        running = descent.running_stats.updated(section(params.state, "running"), stats)
        return MetaStep(
            gradient=gradient,
            state=prefixed(running, "running"),
            loss=kept["loss"],
            query_loss=kept["query_loss"].unsqueeze(0),
            query_metric=kept["query_metric"].unsqueeze(0),
            query_steps=(0,),
        )

    def predict(
        self, params: MetaParameters, episodes: Episode, steps: int, bn_stats: BatchNormStats
    ) -> Tensor:
        return self.adapting.predict(params, episodes, steps, bn_stats)

    def inner_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        return {}

    def step_weights(self, progress: Progress) -> list[float]:
        return []

    def order(self, progress: Progress) -> int:
        return 1


@settings(frozen=True, kw_only=True, config=STRICT)
class Pretrained:
    """The settings of the baselines for regression."""

    name: str
    inner_steps: Annotated[int, Field(ge=0, le=1000, description="gradient steps at evaluation")]
    inner_lr: Annotated[float, Field(ge=0, le=10, description="their learning rate")]
    pretrain: Annotated[bool, Field(description="false: the weights stay random")]

    def check(self, experiment: Experiment) -> list[str]:
        """That there is one function to learn: classes change their numbers from task to task."""
        if experiment.run.ways == 1:
            return []
        return [
            f"algo={self.name} learns one function for all tasks, but with ways="
            f"{experiment.run.ways} a class has another number in each: choose dataset=sinusoid"
        ]

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"pretrain": self.pretrain}

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> PretrainedLearner:
        """Turn the settings into parts."""
        adapting = GradientLearner(
            steps=self.inner_steps,
            init_network=lambda generator: backbone.init(
                source.input_shape, source.output_size, generator
            ),
            descent=Descent(
                forward=backbone.apply,
                objective=source.objective,
                rates=ConstantRate(self.inner_lr),
                norm_rows=SharedNorm(),
                running_stats=RunningStats(rows=1),
                adapts=lambda name: part_of(name) != "norm",
            ),
            engine=engine,
            step_weights=last_step(self.inner_steps),
            order=lambda _: 1,
            outer_lr=constant(0.0),
        )
        rate = train.outer_lr if self.pretrain else 0.0
        return PretrainedLearner(adapting=adapting, outer_lr=constant(rate))
