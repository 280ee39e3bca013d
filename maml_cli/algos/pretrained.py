"""Baselines that learn one network for all tasks, or none, and only then turn to each task.

Source: Finn, Abbeel & Levine 2017, section 5.1: for regression, the pretrained network, and the
oracle, which is one whose inputs tell the task.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.algos.adapting import Adapting
from maml_cli.core.algorithm import LOG, Algorithm, Merge, MetaParameters, Ops, Phase, Sections
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.objective import Objective
from maml_cli.core.schedules import Schedule, constant, outer_rate
from maml_cli.core.settings import STRICT, AlgorithmDefaults, TrainSettings
from maml_cli.core.types import Episode, Evaluation, Progress, TaskSource
from maml_cli.inner.adaptation import Adaptation
from maml_cli.inner.directions import SGD
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.norm_policies import ByRunning, norm_policy
from maml_cli.inner.rates import ConstantRate
from maml_cli.inner.running_stats import RunningStats
from maml_cli.inner.update_rules import Descent

RUNNING_STATS = RunningStats()
RUNNING = ByRunning()
STATISTICS = "statistics"


class Downstream(Protocol):
    """A way to use a pretrained network on one task."""

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """Query outputs, `(evaluation steps, samples, queries, outputs)`."""
        ...

    def features(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """The features of the queries, `(evaluation steps, queries, ...)`."""
        ...


@dataclass(frozen=True)
class FineTuning(Adapting):
    """The inner loop on the support set, from where its `start` makes of the network."""

    inner: InnerLoop

    def begun(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Adaptation:
        policy = norm_policy(evaluation.bn_stats, RUNNING)
        return self.inner.begin(params, episode, ops, policy=policy, order=1)


@dataclass(frozen=True, kw_only=True)
class PretrainedLearner(Algorithm):
    """Fits one network to the examples of all tasks, as if there were no adaptation later.

    theta holds `model`; state holds `running`, in one row.
    """

    steps: int
    outputs: int
    network: Network
    objective: Objective
    labelled: Callable[[Episode], Episode]
    """A batch of episodes with targets that mean the same in all of them."""
    downstream: Downstream
    outer_lr_schedule: Schedule
    together = True  # to batch norm, all examples are one batch
    merges: ClassVar[Mapping[str, Merge]] = {STATISTICS: "mean"}

    def init(self, seed: int) -> MetaParameters:
        generator = torch.Generator().manual_seed(seed)
        body = self.network.init(generator)
        model = body | self.network.init_head(self.outputs, generator)
        running = RUNNING_STATS.init(self.network)
        return MetaParameters(theta={"model": model}, state={"running": running})

    def outer_lr(self, progress: Progress) -> float:
        return self.outer_lr_schedule(progress)

    def query_steps(self, phase: Phase) -> tuple[int, ...]:
        return (0,)

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Phase, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """The mean loss of all examples of the batch of tasks, support and queries together.

        They are as many as other learners see. The loss and metric of the queries are recorded.
        """
        fields = (field.flatten(0, 1) for field in self.labelled(episode)[:4])
        support_x, support_y, query_x, query_y = fields
        x, y = torch.cat([support_x, query_x]), torch.cat([support_y, query_y])
        norm = ops.batch_stats()
        outputs = self.network.outputs(params.theta["model"], x, norm)
        log = self.objective.log(outputs[len(support_y) :], query_y)
        return self.objective.loss(outputs, y), {LOG: log, STATISTICS: norm.statistics}

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        running = state.get("running", {})
        return {"running": RUNNING_STATS.updated(running, outputs[STATISTICS])}

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        return self.downstream.predict(params.constant(), episode, evaluation, ops)

    def features(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        return self.downstream.features(params.constant(), episode, evaluation, ops)


@settings(frozen=True, kw_only=True, config=STRICT)
class Pretrained(AlgorithmDefaults):
    """The settings of the baselines for regression."""

    name: str
    inner_steps: Annotated[int, Field(ge=0, le=1000, description="gradient steps at evaluation")]
    inner_lr: Annotated[float, Field(ge=0, le=10, description="their learning rate")]
    pretrain: Annotated[bool, Field(description="false: the weights stay random")]

    def check(self, experiment: Experiment) -> list[str]:
        """That there is one function to learn: classes change their numbers from task to task."""
        problems = experiment.run.check_train_ways(self.name)
        problems += experiment.train.check_bn_stats(self.name)
        if experiment.run.ways == 1:
            return problems
        return [
            *problems,
            f"algo={self.name} learns one function for all tasks, but with ways="
            f"{experiment.run.ways} a class has another number in each: choose dataset=sinusoid, "
            "or algo=finetune",
        ]

    @property
    def together(self) -> bool:
        """See `Algorithm.together`."""
        return True

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"pretrain": self.pretrain}

    def build(
        self, network: Network, source: TaskSource, train: TrainSettings
    ) -> PretrainedLearner:
        """Turn the settings into parts."""
        inner = InnerLoop(
            network=network,
            objective=source.objective,
            adapts=("body", "head"),
            rule=Descent(direction=SGD(), rates=ConstantRate(self.inner_lr)),
        )
        return PretrainedLearner(
            steps=self.inner_steps,
            outputs=source.output_size,
            network=network,
            objective=source.objective,
            labelled=lambda episodes: episodes,
            downstream=FineTuning(inner),
            outer_lr_schedule=outer_rate(train) if self.pretrain else constant(0.0),
        )
