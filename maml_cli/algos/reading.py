"""Learners that read: a support set becomes a memory, from which each query is answered by itself.

They take no inner step. What they read is in an order drawn from the episode's key, since episodes
are sorted by class, and a place in the order would tell the label.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from maml_cli.core import noise
from maml_cli.core.algorithm import LOG, Algorithm, Merge, MetaParameters, Ops, Sections
from maml_cli.core.autodiff import Derivative, ScalarFunction, detached
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.norms import Norm
from maml_cli.core.objective import Objective
from maml_cli.core.schedules import Schedule
from maml_cli.core.sequences import Examples, all_shown, arranged, reading_order, rounds
from maml_cli.core.settings import AlgorithmDefaults, BatchNormStats
from maml_cli.core.types import Episode, Evaluation, Progress, Tensors
from maml_cli.inner.norm_policies import ByRunning, norm_policy
from maml_cli.inner.running_stats import RunningStats

STATISTICS = "statistics"
AVERAGES = RunningStats()
Gradient = Callable[[ScalarFunction, Any], Derivative]
"""The gradient of a scalar function at a tree, for readers that take one (`core/autodiff.py`)."""
Criterion = Callable[[Tensor, Tensor], Tensor]
"""The loss of outputs `(examples, outputs)` and targets, a scalar."""


class Reader(ABC):
    """Reads examples into a memory; answers queries from it, each as if it were the only one."""

    @abstractmethod
    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters."""

    @abstractmethod
    def read(self, params: Tensors, support: Examples, gradient: Gradient) -> Any:
        """The memory, a tree of tensors."""

    @abstractmethod
    def answer(self, params: Tensors, memory: Any, x: Tensor) -> Tensor:
        """Outputs `(queries, outputs)` for embedded queries."""


class Embedded(Protocol):
    """What a reader sees of an input."""

    @property
    def network(self) -> Network: ...

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters."""
        ...

    def __call__(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """`(examples, ...)` for inputs `(examples, ...)`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The network's features, or a linear map of them."""

    network: Network
    width: int | None = None
    """Outputs of the linear map, which is the network's head; None: the features as they are."""

    @property
    def size(self) -> int:
        """Numbers per input."""
        return self.width or torch.Size(self.network.feature_shape).numel()

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters."""
        body = self.network.init(generator)
        return body | (self.network.init_head(self.width, generator) if self.width else {})

    def __call__(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """`(examples, size)` for inputs `(examples, ...)`."""
        if self.width:
            return self.network.outputs(params, x, norm)
        return self.network.features(params, x, norm).flatten(1)


class StreamReader(Reader):
    """A reader that answers every example before it is told the label."""

    @abstractmethod
    def stream(self, params: Tensors, examples: Examples) -> Tensor:
        """Outputs for each example from those before it, `(examples, outputs)`."""


class Task(NamedTuple):
    """The embedded examples of an episode, the support set in the order in which it is read."""

    support: Examples
    query: Examples
    key: Tensor
    """The episode's."""


class Lesson(ABC):
    """What is asked of a reader in training."""

    @abstractmethod
    def __call__(
        self, reader: Any, params: Tensors, task: Task, gradient: Gradient
    ) -> tuple[Tensor, Tensor]:
        """Outputs that the loss counts, `(examples, outputs)`, and their targets."""


class Queries(Lesson):
    """The support set is read, then the queries are answered: what the test asks, too."""

    def __call__(
        self, reader: Reader, params: Tensors, task: Task, gradient: Gradient
    ) -> tuple[Tensor, Tensor]:
        memory = reader.read(params, task.support, gradient)
        return reader.answer(params, memory, task.query.x), task.query.y


@dataclass(frozen=True)
class Stream(Lesson):
    """Support set and queries are one sequence in random order; every example is answered.

    In rounds, each class comes once before any comes twice.
    """

    in_rounds: bool

    def __call__(
        self, reader: StreamReader, params: Tensors, task: Task, gradient: Gradient
    ) -> tuple[Tensor, Tensor]:
        examples = self.sequence(task)
        return reader.stream(params, examples), examples.y

    def sequence(self, task: Task) -> Examples:
        """All examples of a task in the order in which they are asked."""
        fields = zip(task.support, task.query, strict=True)
        examples = Examples(*(torch.cat(pair) for pair in fields))
        places = noise.permutation(task.key, "stream", len(examples.y))
        if self.in_rounds:
            places = places[rounds(examples.y[places]).argsort(stable=True)]
        return Examples(*(field[places] for field in examples))


QUERIES = Queries()


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
        fixed = MetaParameters(theta=detached(params.theta), state=params.state)
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
        fixed = MetaParameters(theta=detached(params.theta), state=params.state)
        query = self._embedded(fixed, episode, evaluation.bn_stats, ops)[1].x
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
