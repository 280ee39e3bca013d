"""PLATIPUS: a learned normal distribution of starts, from which a task draws its own.

Source: Finn, Xu & Levine 2018, "Probabilistic model-agnostic meta-learning", algorithms 1 and 2.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.core import noise
from maml_cli.core.algorithm import LOG, Algorithm, MetaParameters, Ops, Phase, Sections
from maml_cli.core.autodiff import detached
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network, Part
from maml_cli.core.schedules import Schedule, outer_rate
from maml_cli.core.settings import STRICT, AlgorithmDefaults, TrainSettings
from maml_cli.core.types import Episode, Evaluation, Progress, TaskSource, Tensors
from maml_cli.inner.adaptation import Adaptation
from maml_cli.inner.directions import SGD
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.norm_policies import BY_NAME
from maml_cli.inner.rates import ConstantRate, LearnedRates
from maml_cli.inner.update_rules import Descent


@dataclass(frozen=True, kw_only=True)
class PlatipusLearner(Algorithm):
    """Learns a distribution of starts; predictions are samples.

    theta holds the mean (`model`), the logarithms of the deviations of prior and posterior for each
    weight that adapts (`prior`, `posterior`), and the rates with which examples move the mean
    (`prior_lr`, `posterior_lr`).
    """

    steps: int
    outputs: int
    samples: int
    kl_weight: float
    order: int
    deviation: float
    bn_stats: str
    inner: InnerLoop
    conditioning: InnerLoop
    """The one step from the mean towards the examples that a distribution is told of."""
    outer_lr_schedule: Schedule
    starts_from: str | None

    def init(self, seed: int) -> MetaParameters:
        generator = torch.Generator().manual_seed(seed)
        model = self.inner.init(self.outputs, generator)["model"]
        rates = self.conditioning.rule.init(self.inner.adapted(model), generator)
        logarithm = math.log(self.deviation)
        theta: Sections = {"model": model, "prior_lr": rates}
        theta["posterior_lr"] = {n: rate.clone() for n, rate in rates.items()}
        for section in ("prior", "posterior"):
            adapted = self.inner.adapted(model)
            theta[section] = {n: torch.full_like(p, logarithm) for n, p in adapted.items()}
        return MetaParameters(theta=theta, state={})

    def outer_lr(self, progress: Progress) -> float:
        return self.outer_lr_schedule(progress)

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Phase, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """`L_query(phi) + kl_weight KL(q || p)`, phi being adapted from one draw of q.

        `q = N(mu - r_q grad L_query(mu), v_q)` and `p = N(mu - r_p grad L_support(mu), v_p)`; KL is
        the mean over weights. Source: algorithm 1.
        """
        theta, bn_stats = params.theta, self.bn_stats
        queries = episode._replace(support_x=episode.query_x, support_y=episode.query_y)
        same: dict[str, Any] = {"bn_stats": bn_stats, "order": self.order}
        prior = self._mean(theta, "prior_lr", episode, ops, **same)
        posterior = self._mean(theta, "posterior_lr", queries, ops, **same)
        drawn = _draw(posterior, theta["posterior"], episode.key, 0)
        start = MetaParameters(theta={"model": {**theta["model"], **drawn}}, state={})
        policy = BY_NAME[bn_stats]
        task = self.inner.begin(start, episode, ops, policy=policy, order=self.order)
        point = task.start
        for step in range(self.steps):
            point = task.step(point, step)
        outputs = task.answer(point, self.steps - 1)[0]
        divergence = kl_divergence(posterior, theta["posterior"], prior, theta["prior"])
        objective = self.inner.objective
        loss = objective.loss(outputs, episode.query_y) + self.kl_weight * divergence
        return loss, {LOG: objective.log(outputs, episode.query_y)}

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """Each sample adapts from its own draw of p. Source: algorithm 2."""
        drawn = self._drawn(params, episode, evaluation, ops)
        tasks = islice(drawn, self.samples)
        return torch.cat([task.predict(evaluation.after) for task in tasks], 1)

    def features(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """Of the first sample."""
        first = next(self._drawn(params, episode, evaluation, ops))
        return first.features(evaluation.after)

    def _drawn(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Iterator[Adaptation]:
        """The task at one start after the other, each drawn from p."""
        theta = detached(params.theta)
        prior = self._mean(theta, "prior_lr", episode, ops, bn_stats=evaluation.bn_stats, order=1)
        policy = BY_NAME[evaluation.bn_stats]
        for number in count():
            drawn = _draw(prior, theta["prior"], episode.key, number)
            start = MetaParameters(theta={"model": {**theta["model"], **drawn}}, state={})
            yield self.inner.begin(start, episode, ops, policy=policy, order=1)

    def _mean(
        self,
        theta: Mapping[str, Tensors],
        rates: str,
        seen: Episode,
        ops: Ops,
        *,
        bn_stats: str,
        order: int,
    ) -> Tensors:
        """The mean of a distribution that is told of the support set of `seen`."""
        start = MetaParameters(
            theta={"model": dict(theta["model"]), "inner_lr": dict(theta[rates])}, state={}
        )
        policy = BY_NAME[bn_stats]
        task = self.conditioning.begin(start, seen, ops, policy=policy, order=order)
        return task.step(task.start, 0).phi


def _draw(mean: Tensors, logarithm: Tensors, key: Tensor, sample: int) -> dict[str, Tensor]:
    """Sample number `sample` of a normal distribution; each has its own words of the noise."""
    drawn = {}
    for name, centre in mean.items():
        shape = tuple(centre.shape)
        standard = noise.normal(key, f"start.{name}", shape, sample * centre.numel())
        drawn[name] = centre + logarithm[name].exp() * standard.to(centre.dtype)
    return drawn


def kl_divergence(q: Tensors, log_q: Tensors, p: Tensors, log_p: Tensors) -> Tensor:
    """`KL(q || p)` of normal distributions with these means and log-deviations, mean over weights.

    `log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2` for each weight.
    """
    parts = []
    for name, mean in q.items():
        square = (2 * log_q[name]).exp() + (mean - p[name]).square()
        ratio = 0.5 * square * (-2 * log_p[name]).exp()
        parts.append((log_p[name] - log_q[name] + ratio - 0.5).flatten())
    return torch.cat(parts).mean()


@settings(frozen=True, kw_only=True, config=STRICT)
class Platipus(AlgorithmDefaults):
    """The settings of PLATIPUS."""

    name: str
    start: Annotated[
        str | None,
        Field(description="DIR of a run, as of maml, whose best weights are the mean at first"),
    ]
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="gradient steps per episode")]
    inner_lr: Annotated[float, Field(ge=-10, le=10, description="their rate")]
    order: Annotated[Literal[1, 2], Field(description="1: inner gradients count as constants")]
    adapts: Annotated[
        list[Part], Field(min_length=1, description="parts of the network that are drawn and adapt")
    ]
    samples: Annotated[int, Field(ge=1, le=1000, description="predictions that are averaged")]
    kl_weight: Annotated[
        float, Field(ge=0, description="of the KL divergence of q and p, mean over weights")
    ]
    conditioning_lr: Annotated[
        float, Field(ge=0, le=10, description="rates of the means' one step, learned; at the start")
    ]
    deviation: Annotated[
        float, Field(gt=0, description="of all weights, in p and in q, learned; at the start")
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        problems = experiment.run.check_train_ways(self.name)
        if self.start is not None and experiment.run.init_from is not None:
            problems.append(
                f"algo.start={self.start} and init_from={experiment.run.init_from} both give the "
                "first weights: leave one of them out"
            )
        return problems + experiment.check_running()

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force, and what adapts."""
        return {
            "second_order": self.order == 2,
            "start": "fresh weights" if self.start is None else self.start,
            "kl_weight": f"{self.kl_weight:g}",
            "adapts": " and ".join(self.adapts),
        }

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> PlatipusLearner:
        """Turn the settings into parts."""
        rate = self.conditioning_lr
        learned = LearnedRates(low=rate, high=rate, rows=1, per_weight=False)

        def loop(rates: ConstantRate | LearnedRates) -> InnerLoop:
            return InnerLoop(
                network=network,
                objective=source.objective,
                adapts=tuple(self.adapts),
                rule=Descent(direction=SGD(), rates=rates),
            )

        return PlatipusLearner(
            steps=self.inner_steps,
            outputs=source.output_size,
            samples=self.samples,
            kl_weight=self.kl_weight,
            order=self.order,
            deviation=self.deviation,
            bn_stats=train.bn_stats,
            inner=loop(ConstantRate(self.inner_lr)),
            conditioning=loop(learned),
            outer_lr_schedule=outer_rate(train),
            starts_from=self.start,
        )
