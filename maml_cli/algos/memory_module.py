"""The memory module: nearest neighbours among keys that are merged, replaced and grow old.

Source: Kaiser, Nachum, Roy & Bengio 2017, "Learning to remember rare events", section 2.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.algos.reading_learner import STATISTICS, ReaderDefaults, ReadingLearner
from maml_cli.core.algorithm import LOG, MetaParameters, Ops, Sections
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import Episode, TaskSource
from maml_cli.readers.embedding import Embedding
from maml_cli.readers.lessons import QUERIES, Stream
from maml_cli.readers.nearest_keys import NearestKeys, margin_loss

ROUNDS = Stream(in_rounds=True)


@dataclass(frozen=True, kw_only=True)
class SharedMemoryLearner(ReadingLearner):
    """All tasks of a batch are streams into one memory, where each has classes of its own.

    So a batch of 16 tasks of 5 classes is told apart as 80 classes, as in the official code. At
    evaluation each task has a memory of its own.
    """

    reader: NearestKeys
    together: bool = True

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Any, ops: Ops
    ) -> tuple[Tensor, Sections]:
        fields = zip(*(field.unbind() for field in episode), strict=True)
        tasks = [self.training_task(params, Episode(*own), ops) for own in fields]
        streams = [ROUNDS.sequence(task) for task, _ in tasks]
        x, y = (torch.stack([getattr(s, name) for s in streams], 1) for name in ("x", "y"))
        ways = self.reader.ways
        y = y + ways * torch.arange(len(streams), device=y.device)
        weights, classes = params.theta["reader"], ways * len(streams)
        found = self.reader.beside_each_other(weights, x, y, classes).flatten(0, 1)
        sections = {LOG: self.objective.log(found, y.flatten())}
        if params.state:
            each = [statistics for _, statistics in tasks]
            sections[STATISTICS] = {n: torch.stack([s[n] for s in each]).mean(0) for n in each[0]}
        return margin_loss(found, y.flatten()), sections


@settings(frozen=True, kw_only=True, config=STRICT)
class MemoryModule(ReaderDefaults):
    """The settings of the memory module."""

    name: str
    rep_dim: Annotated[int, Field(ge=1, le=65536, description="numbers per key")]
    slots: Annotated[
        int | None,
        Field(ge=1, description="of the memory; null: as many as there are examples to read"),
    ]
    lesson: Annotated[
        Literal["queries", "stream"],
        Field(
            description="training asks the queries, or every example of one sequence of support "
            "set and queries, as the paper does"
        ),
    ]
    shared_memory: Annotated[
        bool,
        Field(description="in training one memory for all tasks of a batch, as the official code"),
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        if problems := self.check_classes(experiment):
            return problems
        problems = super().check(experiment)
        if self.shared_memory and self.lesson == "queries":
            problems.append(
                "algo.shared_memory=true has streams write into one memory, but algo.lesson="
                "queries: set algo.lesson=stream or algo.shared_memory=false"
            )
        rows = experiment.train.tasks_per_batch if self.shared_memory else 1
        if self.slots is not None and self.slots < rows:
            problems.append(
                f"algo.slots={self.slots} is below train.tasks_per_batch={rows}, the examples that "
                f"are written at once with algo.shared_memory=true: raise algo.slots to {rows}"
            )
        return problems

    @property
    def together(self) -> bool:
        """See `Algorithm.together`."""
        return self.shared_memory

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"lesson": self.lesson, "shared_memory": self.shared_memory}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ReadingLearner:
        """Turn the settings into parts."""
        learner = SharedMemoryLearner if self.shared_memory else ReadingLearner
        return learner(
            reader=NearestKeys(width=self.rep_dim, ways=source.output_size, slots=self.slots),
            embedding=Embedding(network=network, width=self.rep_dim),
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
            bn_stats=train.bn_stats,
            lesson=ROUNDS if self.lesson == "stream" else QUERIES,
            criterion=margin_loss,
        )
