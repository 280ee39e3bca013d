"""A simple Bayesian MAML: every task draws its start from a learned normal distribution."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.core.algorithm import LOG, Algorithm, MetaParameters, Phase
from maml_cli.core.noise import normal
from maml_cli.core.settings import STRICT, AlgorithmDefaults
from maml_cli.inner.norm_policies import BY_NAME


@dataclass(frozen=True)
class KLPhase(Phase):
    kl_weight: float


@dataclass(frozen=True)
class BayesianMAMLLearner(Algorithm):
    network: object
    source: object
    rate: float
    own: "BayesianMAML"
    steps: int

    def init(self, seed):
        random = torch.Generator().manual_seed(seed)
        mean = self.network.init(random) | self.network.init_head(self.source.output_size, random)
        spread = {name: torch.full_like(m, -4) for name, m in mean.items()}  # log-deviations
        return MetaParameters(theta={"mean": mean, "spread": spread}, state={})

    def outer_lr(self, progress):
        return self.rate

    def phase(self, progress):  # at the middle of the epoch; all of it from half of training on
        return KLPhase(self.own.kl_weight * min(1, (2 * progress.epoch + 1) / progress.epochs))

    def path(self, theta, episode, sample, ops, steps, *, differentiable=False):
        def loss(weights):
            outputs = self.network.outputs(weights, episode.support_x, ops.batch_stats())
            return self.source.objective.support_loss(outputs, episode.support_y), ()

        path = [{}]
        for name, mean in theta["mean"].items():  # each sample has its own words of the stream
            noise = normal(episode.key, f"start.{name}", mean.shape, sample * mean.numel())
            path[0][name] = mean + theta["spread"][name].exp() * noise.to(mean.dtype)
        for _ in range(steps):
            slopes = ops.autodiff.gradient(loss, path[-1], differentiable=differentiable).gradient
            path += [{name: w - self.own.inner_lr * slopes[name] for name, w in path[-1].items()}]
        return path

    def loss(self, params, episode, phase, ops):
        theta, objective = params.theta, self.source.objective
        weights = self.path(theta, episode, 0, ops, self.steps, differentiable=True)[-1]
        outputs = self.network.outputs(weights, episode.query_x, ops.batch_stats())
        pairs = [torch.stack([m, theta["spread"][n]]).flatten(1) for n, m in theta["mean"].items()]
        mean, spread = torch.cat(pairs, 1)
        kl = (((2 * spread).exp() + mean.square() - 1) / 2 - spread).mean()  # per weight
        loss = objective.loss(outputs, episode.query_y) + phase.kl_weight * kl
        return loss, {LOG: objective.log(outputs, episode.query_y)}

    def predict(self, params, episode, evaluation, ops):
        def drawn(sample):
            path = self.path(params.theta, episode, sample, ops, evaluation.after[-1])
            networks = [partial(self.network.outputs, path[step]) for step in evaluation.after]
            policy = BY_NAME[evaluation.bn_stats]
            return torch.stack([policy.queries(n, episode, ops, {})[0] for n in networks])

        return torch.stack([drawn(sample) for sample in range(self.own.samples)], 1)


@settings(frozen=True, kw_only=True, config=STRICT)
class BayesianMAML(AlgorithmDefaults):
    name: str
    inner_steps: Annotated[int, Field(ge=0, le=1000, description="inner steps")]
    inner_lr: Annotated[float, Field(gt=0, description="inner learning rate")]
    samples: Annotated[int, Field(ge=1, description="predictions that are averaged")]
    kl_weight: Annotated[float, Field(ge=0, description="of the mean KL per weight, at its peak")]

    def check(self, experiment):
        run, train, stats = experiment.run, experiment.train, experiment.eval.bn_stats
        found = train.check_bn_stats(self.name) + run.check_train_ways(self.name)
        return found + [f"eval.bn_stats={stats}: use one of {[*BY_NAME]}"] * (stats not in BY_NAME)

    def build(self, network, source, train):
        return BayesianMAMLLearner(network, source, train.outer_lr, self, self.inner_steps)
