"""What the algorithms for optimisation problems share: how a problem is solved and scored."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from maml_cli.core.algorithm import Algorithm, MetaParameters, Ops, Sections
from maml_cli.core.autodiff import Functional
from maml_cli.core.experiment import Experiment
from maml_cli.core.norms import BatchStats
from maml_cli.core.problems import Problems
from maml_cli.core.settings import AlgorithmDefaults, ForProblems, OfProblems
from maml_cli.core.types import Episode, Evaluation, Tensors
from maml_cli.inner.feeds import DrawnBatches, WholeSupport
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.norm_policies import ByBatch
from maml_cli.inner.update_rules import UpdateRule

RULE = "optimizer"
"""The section of theta that holds what is learned of the update rule."""
BATCHED = Ops(Functional(), BatchStats)
"""For what an algorithm batches itself, on any engine."""
POLICY = ByBatch()


@dataclass(frozen=True, kw_only=True)
class ProblemSolver(Algorithm):
    """An update rule that is judged by the losses on the way of each problem."""

    steps: int
    inner: InnerLoop

    @abstractmethod
    def in_use(self, params: MetaParameters) -> Sections:
        """What the update rule needs when nothing is learned any more."""

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """The losses, `(evaluation steps, 1, 1, 1)`, each of the examples that the next step sees.

        No step before has seen them, where the feed draws them anew.
        """
        fixed = MetaParameters(theta=self.in_use(params), state={})
        task = self.inner.begin(fixed, episode, ops, policy=POLICY, order=1)
        return task.losses(evaluation.after).view(-1, 1, 1, 1)


def solving_loop(source: Problems, rule: UpdateRule) -> InnerLoop:
    """The inner loop that solves the problems of a source by an update rule."""

    def start(theta: Sections, episode: Episode) -> Tensors:
        dtype = next(iter(theta[RULE].values())).dtype
        return {name: t.to(dtype) for name, t in source.start(episode.key).items()}

    return InnerLoop(
        network=source.network,
        objective=source.objective,
        adapts=("body", "norm", "head"),
        rule=rule,
        feed=WholeSupport() if source.batch is None else DrawnBatches(source.batch),
        start=start,
        learned=RULE,
    )


class SolverSettings(AlgorithmDefaults, ForProblems):
    """What the settings of all of them check."""

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each setting that means nothing for problems."""
        if not isinstance(experiment.dataset, OfProblems):
            return []  # which is the mistake
        problems = []
        if experiment.eval.ensemble != 1:
            problems.append(
                f"eval.ensemble={experiment.eval.ensemble}: the losses of several optimisers have "
                "no meaning in the mean: set eval.ensemble=1"
            )
        for key in ("train", "eval"):
            if (asked := getattr(experiment, key).bn_stats) != "batch":
                problems.append(
                    f"{key}.bn_stats={asked}: a problem's loss is of the batch at hand: leave "
                    f"{key}.bn_stats out"
                )
        return problems
