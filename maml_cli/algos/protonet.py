"""Prototypical Networks: a query belongs to the class whose mean is nearest.

Source: Snell, Swersky & Zemel 2017, and its official code.
"""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.comparing_learner import ComparingLearner, ComparingSettings
from maml_cli.comparison.prototypes import Prototypes
from maml_cli.comparison.similarities import DISTANCES, similarity
from maml_cli.core.network import Network
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import TaskSource


@settings(frozen=True, kw_only=True, config=STRICT)
class ProtoNet(ComparingSettings):
    """The settings of Prototypical Networks."""

    name: str
    distance: Annotated[DISTANCES, Field(description="between a query and the mean of a class")]
    scale: Annotated[float, Field(gt=0, le=1000, description="of the cosine; 1 in the paper")]
    joint_norm: Annotated[
        bool,
        Field(description="batch norm in training: support set and queries as one batch, or apart"),
    ]

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"distance": self.distance, "joint_norm": self.joint_norm}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ComparingLearner:
        """Turn the settings into parts."""
        comparison = Prototypes(similarity(self.distance, self.scale))
        return self.learner(network, source, train, comparison)
