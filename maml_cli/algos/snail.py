"""SNAIL: causal convolutions and attention over a sequence of examples with their labels.

Source: Mishra, Rohaninejad, Chen & Abbeel 2018, "A simple neural attentive meta-learner".
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.reading_learner import ReaderDefaults, ReadingLearner
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, RunSettings, TrainSettings
from maml_cli.core.types import TaskSource
from maml_cli.readers.causal import CausalReader
from maml_cli.readers.embedding import Embedding


@settings(frozen=True, kw_only=True, config=STRICT)
class Snail(ReaderDefaults):
    """The settings of SNAIL."""

    name: str
    embedding: Annotated[
        int,
        Field(ge=1, le=4096, description="numbers per image, by a linear layer on its features"),
    ]
    filters: Annotated[int, Field(ge=1, le=4096, description="of every dense block")]
    max_shots: Annotated[
        int, Field(ge=1, le=1000, description="the convolutions span ways x this + 1 examples")
    ]
    mixed_shots: Annotated[
        bool, Field(description="training shows 1 to all shots, drawn for each episode")
    ]
    first_dilation: Annotated[
        Literal[1, 2],
        Field(
            description="1, 2, 4 ...; 2, 4, 8 ... as printed, which bridges even distances alone"
        ),
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        if problems := self.check_classes(experiment):
            return problems
        problems, run = super().check(experiment), experiment.run
        shots = max(run.shots, run.shots_in("train"))
        if shots > self.max_shots:
            problems.append(
                f"algo.max_shots={self.max_shots} is below the {shots} shots of an episode, which "
                f"the convolutions would not span: set algo.max_shots={shots}"
            )
        return problems

    def most_shots(self, run: RunSettings) -> int:
        """As many as the convolutions span."""
        return self.max_shots

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"mixed_shots": self.mixed_shots}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ReadingLearner:
        """Turn the settings into parts."""
        ways = source.output_size
        reader = CausalReader(
            features=self.embedding,
            ways=ways,
            length=ways * self.max_shots + 1,
            filters=self.filters,
            first_dilation=self.first_dilation,
        )
        return ReadingLearner(
            reader=reader,
            embedding=Embedding(network=network, width=self.embedding),
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
            bn_stats=train.bn_stats,
            mixed_shots=self.mixed_shots,
        )
