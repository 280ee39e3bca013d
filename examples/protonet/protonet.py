"""Prototypical Networks (Snell et al. 2017): a query belongs to the nearest class mean."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass as settings

from maml_cli.core.algorithm import LOG, Algorithm, MetaParameters
from maml_cli.core.settings import STRICT, AlgorithmDefaults
from maml_cli.inner.norm_policies import ByRunning, norm_policy
from maml_cli.inner.running_stats import RunningStats

STATS = RunningStats()


def scores(support, labels, query, ways):
    """Minus the squared distance of each query to each class mean, `(queries, ways)`."""
    of_class = (labels == torch.arange(ways, device=labels.device).unsqueeze(1)).to(support.dtype)
    prototypes = of_class @ support / of_class.sum(1, keepdim=True)
    return -(query.unsqueeze(1) - prototypes).square().sum(-1)


@dataclass(frozen=True)
class ProtoNetLearner(Algorithm):
    network: object
    objective: object
    rate: float
    merges: ClassVar = {"statistics": "mean"}

    def init(self, seed):
        body = self.network.init(torch.Generator().manual_seed(seed))
        return MetaParameters(theta={"model": body}, state={"running": STATS.init(self.network)})

    def outer_lr(self, progress):
        return self.rate

    def loss(self, params, episode, phase, ops):
        norm = ops.batch_stats()  # the support set and the queries are one batch
        both = torch.cat([episode.support_x, episode.query_x])
        features = self.network.features(params.theta["model"], both, norm).flatten(1)
        support, query = features.split([len(episode.support_x), len(episode.query_x)])
        outputs = scores(support, episode.support_y, query, len(episode.classes))
        loss = self.objective.loss(outputs, episode.query_y)
        log = self.objective.log(outputs, episode.query_y)
        return loss, {LOG: log, "statistics": norm.statistics}

    def next_state(self, state, outputs):
        return {"running": STATS.updated(state["running"], outputs["statistics"])}

    def predict(self, params, episode, evaluation, ops):
        policy = norm_policy(evaluation.bn_stats, running=ByRunning())
        running = params.state["running"]

        def features(x, norm):
            return self.network.features(params.theta["model"], x, norm).flatten(1)

        support = features(episode.support_x, policy.support(ops, running))
        query, _ = policy.queries(features, episode, ops, running)
        outputs = scores(support, episode.support_y, query, len(episode.classes))
        return outputs.expand(len(evaluation.after), 1, -1, -1)


@settings(frozen=True, kw_only=True, config=STRICT)
class ProtoNet(AlgorithmDefaults):
    name: str

    def check(self, experiment):
        return experiment.train.check_bn_stats(self.name)

    def build(self, network, source, train):
        return ProtoNetLearner(network, source.objective, train.outer_lr)
