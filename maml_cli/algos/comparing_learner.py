"""The learner of the metric methods: it compares queries with examples, in learned features.

Nothing adapts to a task. What is compared, and how, is a part: see `comparison/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maml_cli.comparison.comparer import COMPARE, Comparer
from maml_cli.comparison.comparison import Comparison
from maml_cli.core.algorithm import LOG, Algorithm, Merge, MetaParameters, Ops, Phase, Sections
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.norms import fresh_statistics
from maml_cli.core.objective import Objective
from maml_cli.core.schedules import Schedule, outer_rate
from maml_cli.core.settings import AlgorithmDefaults, TrainSettings
from maml_cli.core.types import Episode, Evaluation, Progress, TaskSource
from maml_cli.inner.norm_policies import ByBatch
from maml_cli.inner.running_stats import RunningStats

RUNNING_STATS = RunningStats()
JOINT = "running"
SUPPORT, QUERIES = "running_support", "running_queries"


@dataclass(frozen=True, kw_only=True)
class ComparingLearner(Algorithm):
    """Learns a network, and perhaps the comparison, by the loss of the queries.

    theta holds `model` and, where the comparison has parameters, `compare`. Batch norm in training
    is by the statistics of the support set and the queries as one batch, or of each by itself. The
    state holds their running averages: `running`, or `running_support` and `running_queries`.
    """

    comparer: Comparer
    objective: Objective
    outer_lr_schedule: Schedule
    merges: ClassVar[Mapping[str, Merge]] = {JOINT: "mean", SUPPORT: "mean", QUERIES: "mean"}

    @property
    def joint(self) -> bool:
        """Whether the support set and the queries are one batch in training."""
        return self.comparer.running == (JOINT, JOINT)

    def init(self, seed: int) -> MetaParameters:
        generator = torch.Generator().manual_seed(seed)
        network, comparison = self.comparer.network, self.comparer.comparison
        theta: Sections = {"model": network.init(generator)}
        if compare := comparison.init(network.feature_shape, generator):
            theta[COMPARE] = compare
        body, own = RUNNING_STATS.init(network), fresh_statistics(comparison.norms)
        state = {JOINT: body | own} if self.joint else {SUPPORT: body, QUERIES: body | own}
        return MetaParameters(theta=theta, state=state)

    def outer_lr(self, progress: Progress) -> float:
        return self.outer_lr_schedule(progress)

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Phase, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """The loss of the queries' scores, by batch statistics."""
        statistics: Sections
        if self.joint:
            norm = ops.batch_stats()
            both = torch.cat([episode.support_x, episode.query_x])
            features = self.comparer.network.features(params.theta["model"], both, norm)
            scores = self.comparer.together(params, episode, features, norm)
            statistics = {JOINT: norm.statistics}
        else:
            scores, support, queries = self.comparer.apart(params, episode, ops, ByBatch())
            statistics = {SUPPORT: dict(support), QUERIES: dict(queries)}
        loss = self.comparer.comparison.loss(scores, episode.query_y)
        return loss, {LOG: self.objective.log(scores, episode.query_y), **statistics}

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        return {name: RUNNING_STATS.updated(old, outputs[name]) for name, old in state.items()}

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        return self.comparer.predict(params.constant(), episode, evaluation, ops)

    def features(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        return self.comparer.features(params.constant(), episode, evaluation, ops)


class ComparingSettings(AlgorithmDefaults):
    """What the settings of the metric methods share, to derive from."""

    name: str
    joint_norm: bool

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        return check_comparing(self.name, experiment)

    def learner(
        self, network: Network, source: TaskSource, train: TrainSettings, comparison: Comparison
    ) -> ComparingLearner:
        """The learner with this comparison."""
        running = (JOINT, JOINT) if self.joint_norm else (SUPPORT, QUERIES)
        return ComparingLearner(
            comparer=Comparer(network=network, comparison=comparison, running=running),
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
        )


def check_comparing(name: str, experiment: Experiment) -> list[str]:
    """Why a learner that compares, without inner steps, cannot do this; one sentence each."""
    problems, run = experiment.train.check_bn_stats(name), experiment.run
    if run.ways < 2 and not experiment.dataset.check(run):  # else the data set says it
        return [
            *problems,
            f"algo={name} tells classes apart, but ways={run.ways} leaves nothing to tell apart: "
            "choose a data set of images and ways of at least 2",
        ]
    return problems + experiment.eval.check_no_steps(name)
