"""Baselines that learn one network for all tasks, or none, and only then look at each task.

Source: Finn, Abbeel & Levine 2017, section 5.1: for regression, the pretrained network, and the
oracle, which is one whose inputs tell the task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.core.batch_norm import BatchStats
from maml_cli.core.experiment import Backbone, Experiment
from maml_cli.core.functional import autograd_gradient, detached, prefixed, section
from maml_cli.core.learner import MetaParameters, MetaStep, PlainInnerLoop
from maml_cli.core.objective import Objective
from maml_cli.core.schedules import Schedule, constant
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import Episode, Looks, Progress, TaskSource, Tensors
from maml_cli.engines.engine import Engine, Numerics
from maml_cli.inner.descent import Descent, Forward
from maml_cli.inner.downstream import Downstream, FineTuning
from maml_cli.inner.norm_rows import SharedNorm
from maml_cli.inner.partition import part_of
from maml_cli.inner.rates import ConstantRate
from maml_cli.inner.running_stats import RunningStats


@dataclass(frozen=True, kw_only=True)
class PretrainedLearner(PlainInnerLoop):
    """Fits one network to the examples of all tasks, without a thought of adapting later.

    theta holds `model.*`; state holds `running.*`, in one row.
    """

    steps: int
    init_network: Callable[[torch.Generator], dict[str, Tensor]]
    forward: Forward
    objective: Objective
    labelled: Callable[[Episode], Episode]
    """A batch of episodes with targets that mean the same in all of them."""
    running_stats: RunningStats
    downstream: Downstream
    engine: Engine
    outer_lr: Schedule

    def init(self, seed: int) -> MetaParameters:
        network = self.init_network(torch.Generator().manual_seed(seed))
        return MetaParameters(
            theta=prefixed(network, "model"),
            state=prefixed(self.running_stats.init(network), "running"),
        )

    def optimizer(self, theta: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(theta)

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        """The gradient at theta of the mean loss of all examples, support and queries alike.

        They are one batch, to batch norm too, and as many as other learners see. The loss and
        metric of the queries among them are recorded.
        """
        fields = (field.flatten(0, 1) for field in self.labelled(episodes))
        support_x, support_y, query_x, query_y, *_ = fields
        x, y = torch.cat([support_x, query_x]), torch.cat([support_y, query_y])

        def joint_loss(network: Tensors) -> tuple[Tensor, tuple[Tensor, Tensors]]:
            norm = BatchStats()
            outputs = self.forward(network, x, norm)
            return self.objective.loss(outputs, y), (outputs.detach(), norm.collected)

        network = section(params.theta, "model")
        gradient, (outputs, stats) = autograd_gradient(joint_loss, network, False)
        queried = outputs[len(support_y) :]
        running = self.running_stats.updated(section(params.state, "running"), stats)
        return MetaStep(
            gradient=prefixed(gradient, "model"),
            state=prefixed(running, "running"),
            loss=self.objective.loss(outputs, y),
            query_loss=self.objective.loss(queried, query_y).unsqueeze(0),
            query_metric=self.objective.metric(queried, query_y).unsqueeze(0),
            query_steps=(0,),
        )

    def predict(self, params: MetaParameters, episodes: Episode, looks: Looks) -> Tensor:
        network = section(detached(params.theta), "model")
        running = section(params.state, "running")

        def outputs(episode: Episode, numerics: Numerics) -> Tensor:
            return self.downstream.predict(
                network, running, episode, looks=looks, numerics=numerics
            )

        return self.engine.map(outputs, episodes)


@settings(frozen=True, kw_only=True, config=STRICT)
class Pretrained:
    """The settings of the baselines for regression."""

    name: str
    inner_steps: Annotated[int, Field(ge=0, le=1000, description="gradient steps at evaluation")]
    inner_lr: Annotated[float, Field(ge=0, le=10, description="their learning rate")]
    pretrain: Annotated[bool, Field(description="false: the weights stay random")]

    def check(self, experiment: Experiment) -> list[str]:
        """That there is one function to learn: classes change their numbers from task to task."""
        problems = experiment.run.check_train_ways(self.name)
        if experiment.run.ways == 1:
            return problems
        return [
            *problems,
            f"algo={self.name} learns one function for all tasks, but with ways="
            f"{experiment.run.ways} a class has another number in each: choose dataset=sinusoid, "
            "or algo=finetune",
        ]

    @property
    def splits(self) -> bool:
        return False  # batch norm sees them as one batch

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"pretrain": self.pretrain}

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> PretrainedLearner:
        """Turn the settings into parts."""
        running_stats = RunningStats(rows=1)
        return PretrainedLearner(
            steps=self.inner_steps,
            init_network=partial(backbone.init, source.input_shape, source.output_size),
            forward=backbone.apply,
            objective=source.objective,
            labelled=lambda episodes: episodes,
            running_stats=running_stats,
            downstream=FineTuning(
                descent=Descent(
                    forward=backbone.apply,
                    objective=source.objective,
                    rates=ConstantRate(self.inner_lr),
                    norm_rows=SharedNorm(),
                    running_stats=running_stats,
                    adapts=lambda name: part_of(name) != "norm",
                ),
                start=lambda network: network,
            ),
            engine=engine,
            outer_lr=constant(train.outer_lr if self.pretrain else 0.0),
        )
