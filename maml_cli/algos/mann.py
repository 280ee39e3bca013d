"""Memory-augmented neural network: an LSTM with a memory that is written where it was least used.

Source: Santoro, Bartunov, Botvinick, Wierstra & Lillicrap 2016, "Meta-learning with
memory-augmented neural networks", section 3.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.reading_learner import ReaderDefaults, ReadingLearner
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, OnlyWith, RunSettings, TrainSettings
from maml_cli.core.types import TaskSource
from maml_cli.readers.controller import Controller
from maml_cli.readers.embedding import Embedding
from maml_cli.readers.lessons import QUERIES, Stream


@settings(frozen=True, kw_only=True, config=STRICT)
class MANN(ReaderDefaults):
    """The settings of the memory-augmented network."""

    name: str
    memory: Annotated[bool, Field(description="false: the LSTM alone, the paper's ablation")]
    units: Annotated[int, Field(ge=1, le=65536, description="of the LSTM")]
    slots: Annotated[
        int, Field(ge=1, le=65536, description="rows of the memory"), OnlyWith("memory")
    ]
    width: Annotated[int, Field(ge=1, le=65536, description="numbers per row"), OnlyWith("memory")]
    heads: Annotated[
        int,
        Field(ge=1, le=64, description="read heads, and as many write heads"),
        OnlyWith("memory"),
    ]
    lesson: Annotated[
        Literal["queries", "stream"],
        Field(
            description="training asks the queries, or every example of one sequence of support "
            "set and queries, as the paper does"
        ),
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        if problems := self.check_classes(experiment):
            return problems
        problems = super().check(experiment)
        if self.memory and self.slots < self.heads:
            problems.append(
                f"algo.slots={self.slots} is below algo.heads={self.heads}, but as many slots are "
                "written at each step as there are heads: raise algo.slots"
            )
        return problems

    def most_shots(self, run: RunSettings) -> int:
        """As many as before the last example of a training sequence.

        With longer sequences the answers become worse, not better.
        """
        shots = run.shots_in("train")
        return shots + run.queries_in("train") - 1 if self.lesson == "stream" else shots

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"memory": self.memory, "lesson": self.lesson}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ReadingLearner:
        """Turn the settings into parts."""
        embedding = Embedding(network=network)
        reader = Controller(
            features=embedding.size,
            ways=source.output_size,
            units=self.units,
            slots=self.slots if self.memory else 0,
            width=self.width,
            heads=self.heads,
        )
        return ReadingLearner(
            reader=reader,
            embedding=embedding,
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
            bn_stats=train.bn_stats,
            lesson=Stream(in_rounds=False) if self.lesson == "stream" else QUERIES,
        )
