"""BMAML: several networks that are meta-learned together, and adapt as particles.

Source: Yoon, Kim, Dia, Kim, Bengio & Ahn 2018, "Bayesian model-agnostic meta-learning".
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.core.algorithm import LOG, MetaParameters, Ops, Sections
from maml_cli.core.autodiff import detached
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network, Part
from maml_cli.core.objective import Objective
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, AlgorithmDefaults, OnlyWith, TrainSettings
from maml_cli.core.types import Episode, Evaluation, TaskSource
from maml_cli.inner.adaptation import Adaptation, Point
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.outer_loss import InnerLoopPhase, last_step
from maml_cli.inner.particles import Particles
from maml_cli.inner.svgd import (
    NOISE_PRECISION,
    WEIGHT_PRECISION,
    Bandwidth,
    Repulsion,
    SteinDescent,
)


@dataclass(frozen=True, kw_only=True)
class BMAMLLearner(GradientLearner):
    """Learns the starts of particles from which SVGD on a support set does well on its queries.

    theta's section `model` has the particles as the first dimension of what adapts.
    """

    objective: Objective
    """Of the queries; the inner loop's is that of all particles together."""
    leader: InnerLoop | None
    """Goes on from the adapted particles, on all examples of the task; None: no chaser loss."""
    leader_steps: int

    def loss(
        self, params: MetaParameters, episode: Episode, phase: InnerLoopPhase, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """`-mean log 1/M sum_i p(y | x, theta_i)` over the queries, after the inner steps.

        With a leader it is the squared distance of the particles' weights to the leader's, which
        are constants. Source: equations 4 and 6.
        """
        policy = self._policy(phase.bn_stats)
        task = self.inner.begin(params, episode, ops, policy=policy, order=2)
        point = _adapted(task, self.steps)
        outputs = task.answer(point, self.steps - 1)[0].movedim(1, 0)
        y = episode.query_y
        if self.leader is None:
            likelihood = self.objective.likelihood.log_p(outputs, y)
            loss = math.log(len(outputs)) - likelihood.logsumexp(0).mean()
        else:
            both = episode._replace(
                support_x=torch.cat([episode.support_x, episode.query_x]),
                support_y=torch.cat([episode.support_y, y]),
            )
            model = detached({**params.theta["model"], **point.phi})
            start = MetaParameters(theta={"model": model}, state=params.state)
            ahead = self.leader.begin(start, both, ops, policy=policy, order=1)
            loss = _distance(point, _adapted(ahead, self.leader_steps))
        combined = self.objective.combine(self._means(outputs))
        return loss, {LOG: self.objective.log(combined, y)}

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        outputs = super().predict(params, episode, evaluation, ops).squeeze(1)
        return self._means(outputs.movedim(2, 1))

    def _means(self, samples: Tensor) -> Tensor:
        """The outputs without the precision of noise."""
        return samples[..., : self.outputs]


def _adapted(task: Adaptation, steps: int) -> Point:
    point = task.start
    for step in range(steps):
        point = task.step(point, step)
    return point


def _distance(follower: Point, leader: Point) -> Tensor:
    """`sum |theta - leader|^2` over particles and weights; precisions do not count."""
    apart = [
        (p - leader.phi[n].detach()).square().sum()
        for n, p in follower.phi.items()
        if n not in (WEIGHT_PRECISION, NOISE_PRECISION)
    ]
    return torch.stack(apart).sum()


@settings(frozen=True, kw_only=True, config=STRICT)
class BMAML(AlgorithmDefaults):
    """The settings of BMAML: particles, the density's kernel, and the outer loss."""

    name: str
    particles: Annotated[int, Field(ge=1, le=100, description="networks that are meta-learned")]
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="SVGD steps per episode")]
    inner_lr: Annotated[float, Field(gt=0, le=10, description="of SVGD, on summed losses")]
    adapts: Annotated[
        list[Part],
        Field(min_length=1, description="parts that each particle has of its own, head among them"),
    ]
    repulsion: Annotated[
        Repulsion, Field(description="full: the kernel's gradient; half: the published code's")
    ]
    bandwidth: Annotated[
        Bandwidth, Field(description="median distance of pairs, or of the matrix with its zeros")
    ]
    outer: Annotated[
        Literal["query", "chaser"],
        Field(description="loss of the queries, or distance to particles that saw them too"),
    ]
    leader_steps: Annotated[
        int,
        Field(ge=1, le=1000, description="SVGD steps of the chaser"),
        OnlyWith("outer", "chaser"),
    ]
    leader_lr: Annotated[
        float, Field(gt=0, le=10, description="their rate"), OnlyWith("outer", "chaser")
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        problems = experiment.run.check_train_ways(self.name)
        if "head" not in self.adapts:
            problems.append(
                f"algo.adapts=[{','.join(self.adapts)}]: all particles of algo={self.name} would "
                "have the same outputs: add head"
            )
        return problems + experiment.check_running()

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force, and what adapts."""
        return {
            "particles": str(self.particles),
            "repulsion": self.repulsion,
            "bandwidth": self.bandwidth,
            "outer": self.outer,
            "adapts": " and ".join(self.adapts),
        }

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> BMAMLLearner:
        """Turn the settings into parts."""
        objective, own = source.objective, tuple(self.adapts)
        follower = InnerLoop(
            network=Particles(network, self.particles, own, noise=objective.likelihood.noise),
            objective=of_particles(objective),
            adapts=own,
            rule=self._rule(self.inner_lr),
        )
        chased = replace(follower, rule=self._rule(self.leader_lr))
        weights = last_step(self.inner_steps)
        phase = InnerLoopPhase(order=2, step_weights=weights, bn_stats=train.bn_stats)
        return BMAMLLearner(
            steps=self.inner_steps,
            outputs=source.output_size,
            inner=follower,
            schedule=lambda _: phase,
            outer_lr_schedule=outer_rate(train),
            objective=objective,
            leader=chased if self.outer == "chaser" else None,
            leader_steps=self.leader_steps,
        )

    def _rule(self, rate: float) -> SteinDescent:
        return SteinDescent(rate=rate, repulsion=self.repulsion, bandwidth=self.bandwidth)


def of_particles(objective: Objective) -> Objective:
    """Whose support loss is the negative log-likelihood, summed over examples and particles.

    Outputs are `(examples, particles, outputs)`, those of `Particles`.
    """

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return -objective.likelihood.log_p(outputs.movedim(1, 0), targets).sum()

    def balanced(outputs: Tensor, targets: Tensor) -> Tensor:
        each = [objective.support_loss(outputs[:, i], targets) for i in range(outputs.shape[1])]
        return len(targets) * torch.stack(each).sum()

    return replace(objective, loss=loss, balanced=balanced if objective.balanced else None)
