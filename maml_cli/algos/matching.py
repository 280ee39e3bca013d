"""Matching Networks: attention over the examples of a support set, perhaps embedded in its context.

Sources: Vinyals et al. 2016; the code of Ravi & Larochelle 2017 for the sum of similarities.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.comparing_learner import ComparingLearner, ComparingSettings
from maml_cli.comparison.context import FullContext
from maml_cli.comparison.examples import ClassSum, Examples, attention
from maml_cli.comparison.similarities import DISTANCES, similarity
from maml_cli.core.network import Network
from maml_cli.core.settings import STRICT, OnlyWith, TrainSettings
from maml_cli.core.types import TaskSource


@settings(frozen=True, kw_only=True, config=STRICT)
class Matching(ComparingSettings):
    """The settings of Matching Networks, of either kind."""

    name: str
    distance: Annotated[DISTANCES, Field(description="between a query and a support example")]
    scale: Annotated[
        float,
        Field(gt=0, le=1000, description="of the cosine; 1 in the paper"),
        OnlyWith("distance", "cosine"),
    ]
    attention: Annotated[
        Literal["examples", "classes"],
        Field(
            description="softmax over all examples, summed by class (the paper), or over the "
            "classes' sums of similarities (the code of Ravi & Larochelle)"
        ),
    ]
    shots: Annotated[
        int,
        Field(ge=1, description="examples that a sum of a class stands for: as in training"),
        OnlyWith("attention", "classes"),
    ]
    fce: Annotated[bool, Field(description="full context embeddings")]
    fce_steps: Annotated[
        int,
        Field(ge=1, le=100, description="how often a query reads the support set"),
        OnlyWith("fce"),
    ]
    joint_norm: Annotated[
        bool,
        Field(description="batch norm in training: support set and queries as one batch, or apart"),
    ]

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {
            "distance": self.distance,
            "attention": self.attention,
            "fce": self.fce,
            "joint_norm": self.joint_norm,
        }

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ComparingLearner:
        """Turn the settings into parts."""
        comparison = Examples(
            similarity=similarity(self.distance, self.scale),
            pooling=attention if self.attention == "examples" else ClassSum(self.shots),
            context=FullContext(self.fce_steps) if self.fce else None,
        )
        return self.learner(network, source, train, comparison)
