"""Relation Networks: how near a query is to a class is itself learned.

Source: Sung et al. 2018, and its official code.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.comparing_learner import ComparingLearner, ComparingSettings
from maml_cli.comparison.relation import Relation
from maml_cli.core.network import Network
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import TaskSource


@settings(frozen=True, kw_only=True, config=STRICT)
class RelationNet(ComparingSettings):
    """The settings of Relation Networks."""

    name: str
    filters: Annotated[int, Field(ge=1, le=4096, description="channels of the relation module")]
    padding: Annotated[
        Literal[0, 1],
        Field(description="of its convolutions; 0 for maps as large as those of Mini-ImageNet"),
    ]
    units: Annotated[int, Field(ge=1, le=65536, description="of its hidden linear layer")]
    shots: Annotated[
        int, Field(ge=1, description="examples that the sum of a class stands for: as in training")
    ]
    criterion: Annotated[
        Literal["squared_error", "cross_entropy"],
        Field(description="the loss: of sigmoids against 0 and 1, or of the scores"),
    ]
    joint_norm: Annotated[
        bool,
        Field(description="batch norm in training: support set and queries as one batch, or apart"),
    ]

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"criterion": self.criterion, "joint_norm": self.joint_norm}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ComparingLearner:
        """Turn the settings into parts."""
        comparison = Relation(
            filters=self.filters,
            padding=self.padding,
            units=self.units,
            shots=self.shots,
            criterion=self.criterion,
        )
        return self.learner(network, source, train, comparison)
