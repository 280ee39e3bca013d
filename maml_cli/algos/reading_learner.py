"""The learner that reads: a support set becomes a memory, which answers each query by itself.

It takes no inner step. What it reads is in an order drawn from the episode's key, since episodes
are sorted by class, and a place in the order would tell the label. How a support set is read is a
part: see `readers/`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from maml_cli.core.algorithm import LOG, Algorithm, Merge, MetaParameters, Ops, Sections
from maml_cli.core.experiment import Experiment
from maml_cli.core.norms import Norm
from maml_cli.core.objective import Objective
from maml_cli.core.schedules import Schedule
from maml_cli.core.settings import AlgorithmDefaults, BatchNormStats
from maml_cli.core.types import Episode, Evaluation, Progress
from maml_cli.inner.norm_policies import ByRunning, norm_policy
from maml_cli.inner.running_stats import RunningStats
from maml_cli.readers.embedding import Embedded
from maml_cli.readers.lessons import QUERIES, Lesson, Task
from maml_cli.readers.reader import Reader
from maml_cli.readers.sequences import Examples, all_shown, arranged, reading_order

STATISTICS = "statistics"
AVERAGES = RunningStats()
Criterion = Callable[[Tensor, Tensor], Tensor]
"""The loss of outputs `(examples, outputs)` and targets, a scalar."""


@dataclass(frozen=True, kw_only=True)
class ReadingLearner(Algorithm):
    """Learns to read: theta holds the embedding's parameters, `model`, and the reader's, `reader`.

    State holds running batch-norm statistics where the network has batch norms and training
    normalises by batches.
    """

    reader: Reader
    embedding: Embedded
    objective: Objective
    outer_lr_schedule: Schedule
    bn_stats: BatchNormStats
    """What normalises in training."""
    lesson: Lesson = QUERIES
    criterion: Criterion | None = None
    """None: the objective's loss."""
    order: Literal[1, 2] = 1
    """1: in training, gradients that the reader takes are constants."""
    mixed_shots: bool = False
    """Training shows some examples of each class, as many as `reading_order` draws."""
    merges: ClassVar[Mapping[str, Merge]] = {STATISTICS: "mean"}

    def init(self, seed: int) -> MetaParameters:
        generator = torch.Generator().manual_seed(seed)
        theta = {"model": self.embedding.init(generator), "reader": self.reader.init(generator)}
        network = self.embedding.network
        gathers = bool(network.norms) and self.bn_stats == "batch"
        state = {"running": AVERAGES.init(network)} if gathers else {}
        return MetaParameters(theta={s: t for s, t in theta.items() if t}, state=state)

    def outer_lr(self, progress: Progress) -> float:
        return self.outer_lr_schedule(progress)

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Any, ops: Ops
    ) -> tuple[Tensor, Sections]:
        task, statistics = self.training_task(params, episode, ops)
        weights = params.theta.get("reader", {})
        gradient = partial(ops.autodiff.gradient, differentiable=self.order == 2)
        outputs, targets = self.lesson(self.reader, weights, task, gradient)
        criterion = self.criterion or self.objective.loss
        sections = {LOG: self.objective.log(outputs, targets)}
        if params.state:
            sections[STATISTICS] = statistics
        return criterion(outputs, targets), sections

    def training_task(
        self, params: MetaParameters, episode: Episode, ops: Ops
    ) -> tuple[Task, dict[str, Tensor]]:
        """An episode's examples, and the batch-norm statistics of the queries' pass."""
        support, query, statistics = self._embedded(params, episode, self.bn_stats, ops)
        order = reading_order(episode, mixed_shots=self.mixed_shots)
        return Task(arranged(support, order), query, episode.key), statistics

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        if not state:
            return state
        return {"running": AVERAGES.updated(state["running"], outputs[STATISTICS])}

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        fixed = params.constant()
        support, query, _ = self._embedded(fixed, episode, evaluation.bn_stats, ops)
        weights = fixed.theta.get("reader", {})
        order = reading_order(episode, mixed_shots=False)
        memory = self.reader.read(weights, arranged(support, order), ops.autodiff.gradient)
        outputs = self.reader.answer(weights, memory, query.x)
        return outputs.expand(len(evaluation.after), 1, -1, -1)

    def features(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """What the reader is given of each query."""
        query = self._embedded(params.constant(), episode, evaluation.bn_stats, ops)[1].x
        return query.expand(len(evaluation.after), *query.shape)

    def _embedded(
        self, params: MetaParameters, episode: Episode, bn_stats: BatchNormStats, ops: Ops
    ) -> tuple[Examples, Examples, dict[str, Tensor]]:
        """Support set and queries, and the batch-norm statistics of the queries' pass."""
        policy = norm_policy(bn_stats, ByRunning())
        model, running = params.theta.get("model", {}), params.state.get("running", {})

        def embed(x: Tensor, norm: Norm) -> Tensor:
            return self.embedding(model, x, norm)

        support = embed(episode.support_x, policy.support(ops, running))
        query, statistics = policy.queries(embed, episode, ops, running)
        return (
            Examples(support, episode.support_y, all_shown(support)),
            Examples(query, episode.query_y, all_shown(query)),
            dict(statistics),
        )


class ReaderDefaults(AlgorithmDefaults):
    """What the settings of readers have in common."""

    name: str

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        problems = experiment.run.check_train_ways(self.name)
        steps, train, test = experiment.eval.inner_steps, experiment.train, experiment.eval
        if steps:
            problems.append(
                f"algo={self.name} takes no inner steps, but eval.inner_steps={steps}: "
                "set eval.inner_steps=null"
            )
        if train.bn_stats == "running":
            problems.append(
                f"train.bn_stats=running: algo={self.name} trains by statistics of its own "
                "examples: set train.bn_stats=batch or support"
            )
        elif test.bn_stats == "running" and train.bn_stats != "batch":
            problems.append(
                f"eval.bn_stats=running: with train.bn_stats={train.bn_stats} no running "
                "statistics are gathered: set train.bn_stats=batch"
            )
        return problems

    def check_classes(self, experiment: Experiment) -> list[str]:
        """One sentence if there are no classes."""
        if experiment.run.ways > 1:
            return []
        return [
            f"algo={self.name} tells classes apart, but ways=1 leaves nothing to tell apart: "
            "choose a data set of images and ways of at least 2, or algo=in_context"
        ]
