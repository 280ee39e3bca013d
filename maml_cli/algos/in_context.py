"""A transformer that learns in context: the support set and one query are its input, once.

Sources: Garg, Tsipras, Liang & Valiant 2022, "What can transformers learn in-context?" (functions);
Fifty et al. 2024, "Context-aware meta-learning" (label codes; no order, no causal mask).
"""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.reading_learner import ReaderDefaults, ReadingLearner
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import TaskSource
from maml_cli.readers.embedding import Embedding
from maml_cli.readers.transformer import Transformer


@settings(frozen=True, kw_only=True, config=STRICT)
class InContext(ReaderDefaults):
    """The settings of the transformer."""

    name: str
    width: Annotated[int, Field(ge=1, le=4096, description="numbers per token")]
    layers: Annotated[int, Field(ge=1, le=48, description="attention layers")]
    heads: Annotated[int, Field(ge=1, le=64, description="attention heads; they share the width")]
    mixed_shots: Annotated[
        bool, Field(description="training shows 1 (curves: 0) to all shots, drawn for each episode")
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        problems = super().check(experiment)
        if self.width % self.heads:
            problems.append(
                f"algo.width={self.width} is no multiple of algo.heads={self.heads}: the heads "
                "share the width equally, so change one of them"
            )
        return problems

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"mixed_shots": self.mixed_shots}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ReadingLearner:
        """Turn the settings into parts."""
        embedding = Embedding(network=network)
        reader = Transformer(
            features=embedding.size,
            outputs=source.output_size,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
        )
        return ReadingLearner(
            reader=reader,
            embedding=embedding,
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
            bn_stats=train.bn_stats,
            mixed_shots=self.mixed_shots,
        )
