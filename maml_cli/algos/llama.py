"""LLAMA: MAML as hierarchical Bayes, whose outer loss counts how well a task fixes its weights.

Source: Grant, Finn, Levine, Darrell & Griffiths 2018, "Recasting gradient-based meta-learning as
hierarchical Bayes".
"""

from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.algos.maml import MAML
from maml_cli.core.network import Network
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import TaskSource
from maml_cli.inner.laplace import LaplaceTerm


@settings(frozen=True, kw_only=True, config=STRICT)
class LLAMA(MAML):
    """The settings of MAML, and of the Laplace term. Predictions are MAML's."""

    laplace_weight: Annotated[
        float, Field(ge=0, description="eta of eta log det H in the outer loss; exact: 0.5")
    ]
    damping: Annotated[float, Field(gt=0, description="tau of H = Gauss-Newton matrix + tau I")]

    def toggles(self) -> dict[str, bool | str]:
        """MAML's switches, and the term."""
        return {**super().toggles(), "laplace_weight": f"{self.laplace_weight:g}"}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> GradientLearner:
        """MAML's parts with the term."""
        term = LaplaceTerm(weight=self.laplace_weight, damping=self.damping)
        return replace(super().build(network, source, train), penalty=term)
