"""A network and a comparison, as they answer the queries of a task without any inner step."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from maml_cli.comparison.comparison import Comparison
from maml_cli.core.algorithm import MetaParameters, Ops
from maml_cli.core.network import Network
from maml_cli.core.norms import Norm
from maml_cli.core.types import Episode, Evaluation, Tensors
from maml_cli.inner.norm_policies import ByRunning, NormPolicy, norm_policy

COMPARE = "compare"
"""The section of theta that holds a comparison's own parameters."""


@dataclass(frozen=True, kw_only=True)
class Comparer:
    """Embeds a support set and queries by a network, and compares them.

    `running` names the sections of the state that have the running statistics for the support set
    and for the queries.
    """

    network: Network
    comparison: Comparison
    running: tuple[str, str] = ("running", "running")

    def together(
        self, params: MetaParameters, episode: Episode, features: Tensor, norm: Norm
    ) -> Tensor:
        """Scores `(queries, ways)`, from features of the support set and then the queries."""
        examples = len(episode.support_x)
        compare = params.theta.get(COMPARE, {})
        classes = self._classes(params, episode, features[:examples])
        return self.comparison.scores(compare, classes, features[examples:], norm)

    def apart(
        self, params: MetaParameters, episode: Episode, ops: Ops, policy: NormPolicy
    ) -> tuple[Tensor, Tensors, Tensors]:
        """Scores `(queries, ways)` of two passes, and the statistics of each, if any."""
        model, compare = params.theta["model"], params.theta.get(COMPARE, {})
        of_support, of_queries = (params.state.get(name, {}) for name in self.running)
        support_norm = policy.support(ops, of_support)
        support = self.network.features(model, episode.support_x, support_norm)
        classes = self._classes(params, episode, support)

        def scores(x: Tensor, norm: Norm) -> Tensor:
            features = self.network.features(model, x, norm)
            return self.comparison.scores(compare, classes, features, norm)

        found, statistics = policy.queries(scores, episode, ops, of_queries)
        return found, support_norm.statistics, statistics

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """Query outputs, `(evaluation steps, samples, queries, ways)`; steps change nothing."""
        policy = norm_policy(evaluation.bn_stats, ByRunning())
        scores, _, _ = self.apart(params, episode, ops, policy)
        return scores.expand(len(evaluation.after), 1, -1, -1)

    def features(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """The network's features of the queries, `(evaluation steps, queries, ...)`, all alike."""
        policy = norm_policy(evaluation.bn_stats, ByRunning())
        network = partial(self.network.features, params.theta["model"])
        running = params.state.get(self.running[1], {})
        found, _ = policy.queries(network, episode, ops, running)
        return found.expand(len(evaluation.after), *found.shape)

    def _classes(self, params: MetaParameters, episode: Episode, support: Tensor) -> object:
        compare = params.theta.get(COMPARE, {})
        ways = len(episode.classes)
        return self.comparison.classes(compare, support, episode.support_y, ways)
