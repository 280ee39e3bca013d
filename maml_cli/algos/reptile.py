"""Reptile: move the weights towards where training on each task takes them.

Source: Nichol, Achiam & Schulman 2018, and the official code.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.core.batch_norm import GivenStats, Norm
from maml_cli.core.experiment import Backbone, Experiment
from maml_cli.core.functional import detached, prefixed, section
from maml_cli.core.learner import MetaParameters, MetaStep, PlainInnerLoop
from maml_cli.core.objective import Objective
from maml_cli.core.schedules import Schedule, linear
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import Episode, Looks, Progress, TaskSource, Tensors
from maml_cli.engines.engine import Engine, Numerics
from maml_cli.inner.descent import Forward
from maml_cli.inner.minibatches import minibatches
from maml_cli.inner.optimizers import SGD, Adam, InnerOptimizer
from maml_cli.inner.queries import query_outputs
from maml_cli.inner.running_stats import RunningStats


class Adapted(NamedTuple):
    """The network after some inner step, and what the inner optimiser remembers."""

    params: Tensors
    memory: Tensors


@dataclass(frozen=True, kw_only=True)
class ReptileLearner(PlainInnerLoop):
    """Learns a start from which few minibatch steps on a support set do well on its queries.

    theta holds `model.*`; state holds `memory.*`, the inner optimiser's at the start of a task, and
    `running.*`.
    """

    steps: int
    batch: int
    """Support examples per inner step in training."""
    eval_batch: int
    """The same in evaluation."""
    init_network: Callable[[torch.Generator], dict[str, Tensor]]
    forward: Forward
    objective: Objective
    optimizer_inside: InnerOptimizer
    carry: bool
    """Whether a task's inner optimiser goes on with the memory of the task before."""
    running_stats: RunningStats
    engine: Engine
    outer_lr: Schedule

    def init(self, seed: int) -> MetaParameters:
        network = self.init_network(torch.Generator().manual_seed(seed))
        memory = self.optimizer_inside.init(network)
        running = self.running_stats.init(network)
        return MetaParameters(
            theta=prefixed(network, "model"),
            state=prefixed(memory, "memory") | prefixed(running, "running"),
        )

    def optimizer(self, theta: list[Tensor]) -> torch.optim.Optimizer:
        """Plain descent: at rate e, `theta <- theta + e (mean(phi) - theta)`."""
        return torch.optim.SGD(theta)

    def adapt(
        self,
        params: Tensors,
        memory: Tensors,
        episode: Episode,
        *,
        steps: int,
        batch: int,
        numerics: Numerics,
        norm: Callable[[], Norm],
    ) -> Iterator[Adapted]:
        """Inner steps on minibatches of the support set, yielding the network after each."""
        for rows in minibatches(episode.support_x, size=batch, count=steps):
            x, y = episode.support_x[rows], episode.support_y[rows]

            def loss(phi: Tensors, x: Tensor = x, y: Tensor = y) -> tuple[Tensor, Tensors]:
                return self.objective.loss(self.forward(phi, x, norm()), y), {}

            gradient, _ = numerics.inner_gradient(loss, params, False)
            params, memory = self.optimizer_inside.step(params, gradient, memory)
            yield Adapted(params, memory)

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        """`theta - mean(phi)` over the tasks (Nichol et al. 2018, algorithms 1 and 2).

        The queries are looked at for the record only. With `carry`, tasks run one after another.
        """
        theta = section(detached(params.theta), "model")

        def one_task(memory: Tensors, episode: Episode, numerics: Numerics) -> dict[str, Tensor]:
            *_, last = self.adapt(
                theta,
                memory,
                episode,
                steps=self.steps,
                batch=self.batch,
                numerics=numerics,
                norm=numerics.batch_stats,
            )
            norm = numerics.batch_stats()
            outputs = self.forward(last.params, episode.query_x, norm)
            return {
                "loss": self.objective.loss(outputs, episode.query_y),
                "metric": self.objective.metric(outputs, episode.query_y),
                **prefixed(last.params, "phi"),
                **prefixed(last.memory, "memory"),
                **prefixed(norm.collected, "stats"),
            }

        memory = section(params.state, "memory")
        together = 1 if self.carry else len(episodes.support_x)
        groups = []
        for group in zip(*(torch.split(f, together) for f in episodes), strict=True):
            found = self.engine.mean(partial(one_task, memory), Episode(*group))
            memory = section(found, "memory") if self.carry else memory
            groups.append(found)
        mean = {n: torch.stack([g[n] for g in groups]).mean(0) for n in groups[0]}
        running = self.running_stats.updated(
            section(params.state, "running"), section(mean, "stats")
        )
        phi = section(mean, "phi")
        return MetaStep(
            gradient={f"model.{n}": t - phi[n] for n, t in theta.items()},
            state=prefixed(memory, "memory") | prefixed(running, "running"),
            loss=mean["loss"],
            query_loss=mean["loss"].unsqueeze(0),
            query_metric=mean["metric"].unsqueeze(0),
            query_steps=(self.steps,),
        )

    def predict(self, params: MetaParameters, episodes: Episode, looks: Looks) -> Tensor:
        after, bn_stats = looks
        theta = section(detached(params.theta), "model")
        memory = section(params.state, "memory")
        running = self.running_stats.at(section(params.state, "running"), 0)

        def outputs(episode: Episode, numerics: Numerics) -> Tensor:
            def answers(network: Tensors) -> Tensor:
                forward = partial(self.forward, network)
                return query_outputs(forward, episode, bn_stats, running, numerics.batch_stats)

            adapted = self.adapt(
                theta,
                memory,
                episode,
                steps=after[-1],
                batch=self.eval_batch,
                numerics=numerics,
                norm=partial(GivenStats, running)
                if bn_stats == "running"
                else numerics.batch_stats,
            )
            networks = chain([theta], (step.params for step in adapted))
            return torch.stack([answers(n) for step, n in enumerate(networks) if step in after])

        return self.engine.map(outputs, episodes)


@settings(frozen=True, kw_only=True, config=STRICT)
class Reptile:
    """The settings of Reptile; serial with train.tasks_per_batch=1, else batched."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="minibatches per episode")]
    inner_lr: Annotated[float, Field(gt=0, le=10, description="inner learning rate")]
    inner_optimizer: Annotated[
        Literal["sgd", "adam"], Field(description="of the inner loop; adam has beta1 = 0")
    ]
    carry_moments: Annotated[
        bool, Field(description="adam: each task goes on with the second moments of the last one")
    ]
    inner_batch: Annotated[
        int, Field(ge=1, le=65536, description="support examples per inner step, in training")
    ]
    eval_inner_batch: Annotated[
        int, Field(ge=1, le=65536, description="support examples per inner step, in evaluation")
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        problems = experiment.run.check_train_ways(self.name) + experiment.train.check_annealing()
        if self.carry_moments and self.inner_optimizer == "sgd":
            problems.append(
                "algo.carry_moments=true carries the moments of Adam from task to task, but "
                "algo.inner_optimizer=sgd has none: set algo.carry_moments=false"
            )
        return problems

    @property
    def splits(self) -> bool:
        return not self.carry_moments  # which tasks hand on

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"inner_optimizer": self.inner_optimizer, "carry_moments": self.carry_moments}

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> ReptileLearner:
        """Turn the settings into parts."""
        return ReptileLearner(
            steps=self.inner_steps,
            batch=self.inner_batch,
            eval_batch=self.eval_inner_batch,
            init_network=partial(backbone.init, source.input_shape, source.output_size),
            forward=backbone.apply,
            objective=source.objective,
            optimizer_inside={"sgd": SGD, "adam": Adam}[self.inner_optimizer](self.inner_lr),
            carry=self.carry_moments,
            running_stats=RunningStats(rows=1),
            engine=engine,
            outer_lr=linear(train.outer_lr, train.min_outer_lr),
        )
