"""Reptile: move the weights towards where training on each task takes them.

Source: Nichol, Achiam & Schulman 2018, and the official code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.algos.adapting import Adapting
from maml_cli.core.algorithm import (
    LOG,
    Algorithm,
    Merge,
    MetaParameters,
    Ops,
    Phase,
    Sections,
    TaskStep,
)
from maml_cli.core.experiment import Experiment
from maml_cli.core.merging import merged
from maml_cli.core.network import Network
from maml_cli.core.schedules import Schedule, linear
from maml_cli.core.settings import STRICT, AlgorithmDefaults, OnlyWith, TrainSettings
from maml_cli.core.types import Episode, Evaluation, Progress, TaskSource
from maml_cli.inner.adaptation import Adaptation
from maml_cli.inner.directions import SGD, Adam, Direction
from maml_cli.inner.feeds import Minibatches
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.norm_policies import BY_NAME, ByBatch
from maml_cli.inner.rates import ConstantRate
from maml_cli.inner.update_rules import Descent

MEMORY = ("square", "count")
"""The sections of Adam's memory; those of the start of a task are state."""
OuterGradients = Literal["sum", "last"]


@dataclass(frozen=True, kw_only=True)
class ReptileLearner(Adapting, Algorithm):
    """Learns a start from which few minibatch steps on a support set do well on its queries.

    theta holds `model`; state holds the inner optimiser's memory at the start of a task. With
    `together` each task goes on with the memory of the task before.
    """

    steps: int
    outer_gradients: OuterGradients
    together: bool
    outputs: int
    inner: InnerLoop
    evaluated: InnerLoop
    """The same with minibatches of evaluation."""
    outer_lr_schedule: Schedule
    merges: ClassVar[Mapping[str, Merge]] = dict.fromkeys(MEMORY, "last")

    def init(self, seed: int) -> MetaParameters:
        theta = self.inner.init(self.outputs, torch.Generator().manual_seed(seed))
        memory = self.inner.rule.memory(theta["model"])
        return MetaParameters(theta=theta, state=memory)

    def optimizer(self, theta: list[Tensor]) -> torch.optim.Optimizer:
        """Plain descent: at rate e, `theta <- theta + e (mean(phi) - theta)`."""
        return torch.optim.SGD(theta)

    def outer_lr(self, progress: Progress) -> float:
        return self.outer_lr_schedule(progress)

    def task(self, params: MetaParameters, episode: Episode, phase: Phase, ops: Ops) -> TaskStep:
        """`theta - phi` (Nichol et al. 2018, algorithms 1 and 2), of one task, or their mean.

        This is the sum of all k inner moves. With `outer_gradients` `last` it is the last move
        alone, `phi_(k-1) - phi_k`: first-order MAML on minibatches (section 6.1). The queries are
        scored for the record only.
        """
        memory = _memory(params.state)
        if not self.together:
            return self._one_task(params, memory, episode, ops)
        steps = []
        for one in zip(*episode, strict=True):
            steps.append(self._one_task(params, memory, Episode(*one), ops))
            memory = _memory(steps[-1].outputs)
        return merged(steps, self.merges)

    def _one_task(
        self, params: MetaParameters, memory: Sections, episode: Episode, ops: Ops
    ) -> TaskStep:
        task = self.inner.begin(
            params.constant(), episode, ops, policy=ByBatch(), order=1, memory=memory
        )
        points = [task.start]
        for step in range(self.steps):
            points.append(task.step(points[-1], step))
        point = points[-1]
        outputs, _ = task.answer(point, self.steps - 1)
        log = self.inner.objective.log(outputs, episode.query_y)
        since = points[0] if self.outer_gradients == "sum" else points[-2]
        gradient = {n: t - point.phi[n] for n, t in since.phi.items()}
        return TaskStep(
            {"model": gradient},
            {LOG: {**log, "loss": log["query_loss"][0]}, **point.memory},
        )

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        return _memory(outputs if self.together else state)

    def begun(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Adaptation:
        policy = BY_NAME[evaluation.bn_stats]
        return self.evaluated.begin(
            params.constant(), episode, ops, policy=policy, order=1, memory=_memory(params.state)
        )


def _memory(sections: Sections) -> Sections:
    return {name: sections[name] for name in MEMORY if name in sections}


@settings(frozen=True, kw_only=True, config=STRICT)
class Reptile(AlgorithmDefaults):
    """The settings of Reptile; serial with train.tasks_per_batch=1, else batched."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="minibatches per episode")]
    inner_lr: Annotated[float, Field(gt=0, le=10, description="inner learning rate")]
    inner_optimizer: Annotated[
        Literal["sgd", "adam"], Field(description="of the inner loop; adam has beta1 = 0")
    ]
    carry_moments: Annotated[
        bool,
        Field(description="adam: each task goes on with the second moments of the last one"),
        OnlyWith("inner_optimizer", "adam"),
    ]
    outer_gradients: Annotated[
        OuterGradients,
        Field(description="inner moves of the outer step; last: first-order MAML's"),
    ]
    inner_batch: Annotated[
        int, Field(ge=1, le=65536, description="support examples per inner step, in training")
    ]
    eval_inner_batch: Annotated[
        int, Field(ge=1, le=65536, description="support examples per inner step, in evaluation")
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        problems = experiment.run.check_train_ways(self.name)
        problems += experiment.train.check_bn_stats(self.name)
        if experiment.eval.bn_stats == "running":
            problems.append(
                f"eval.bn_stats=running: algo={self.name} trains by the statistics of the batch "
                "and gathers no running ones: choose batch, support or support_and_query"
            )
        if self.carry_moments and self.inner_optimizer == "sgd":
            problems.append(
                "algo.carry_moments=true carries the moments of Adam from task to task, but "
                "algo.inner_optimizer=sgd has none: set algo.carry_moments=false"
            )
        return problems

    @property
    def anneals(self) -> bool:
        """Always: the step towards the adapted weights gets shorter."""
        return True

    @property
    def together(self) -> bool:
        """See `Algorithm.together`; a task hands its moments to the next one."""
        return self.carry_moments

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {
            "inner_optimizer": self.inner_optimizer,
            "carry_moments": self.carry_moments,
            "outer_gradients": self.outer_gradients,
        }

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ReptileLearner:
        """Turn the settings into parts."""
        direction: Direction = Adam(beta1=0.0) if self.inner_optimizer == "adam" else SGD()
        inner = InnerLoop(
            network=network,
            objective=source.objective,
            adapts=("body", "norm", "head"),
            rule=Descent(direction=direction, rates=ConstantRate(self.inner_lr)),
            feed=Minibatches(self.inner_batch),
        )
        return ReptileLearner(
            steps=self.inner_steps,
            outer_gradients=self.outer_gradients,
            together=self.carry_moments,
            outputs=source.output_size,
            inner=inner,
            evaluated=replace(inner, feed=Minibatches(self.eval_inner_batch)),
            outer_lr_schedule=linear(train.outer_lr, train.min_outer_lr),
        )
