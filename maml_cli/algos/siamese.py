"""Siamese networks: pairs of pictures, of the same class or not.

Source: Koch, Zemel & Salakhutdinov 2015.
"""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.comparing_learner import ComparingLearner, ComparingSettings
from maml_cli.comparison.pairs import WeightedL1
from maml_cli.core.network import Network
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import TaskSource


@settings(frozen=True, kw_only=True, config=STRICT)
class Siamese(ComparingSettings):
    """The settings of Siamese networks."""

    name: str
    units: Annotated[int, Field(ge=1, le=65536, description="sigmoids that are compared")]
    joint_norm: Annotated[
        bool,
        Field(description="batch norm in training: support set and queries as one batch, or apart"),
    ]

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"joint_norm": self.joint_norm}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ComparingLearner:
        """Turn the settings into parts."""
        return self.learner(network, source, train, WeightedL1(self.units))
