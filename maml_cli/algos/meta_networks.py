"""Meta-Networks: fast weights that small networks generate from loss gradients.

Source: Munkhdalai & Yu 2017, "Meta networks", algorithm 1 and section 3; the authors' code.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.reading_learner import ReaderDefaults, ReadingLearner
from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.layered import LayeredNetwork
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import TaskSource
from maml_cli.readers.embedding import Inputs
from maml_cli.readers.fast_weights import Generators


@settings(frozen=True, kw_only=True, config=STRICT)
class MetaNetworks(ReaderDefaults):
    """The settings of Meta-Networks."""

    name: str
    order: Annotated[
        Literal[1, 2],
        Field(description="1: the losses' gradients count as constants, as in the official code"),
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        return self.check_classes(experiment) or super().check(experiment)

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"second_order": self.order == 2}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ReadingLearner:
        """Turn the settings into parts; raises UsageError for a network of another kind."""
        if not isinstance(network, LayeredNetwork):
            raise UsageError(
                f"algo={self.name} gives every layer fast weights, but the layers of this backbone "
                "cannot be computed one by one: set backbone=plain_conv_meta_networks"
            )
        return ReadingLearner(
            reader=Generators(network=network, ways=source.output_size),
            embedding=Inputs(network=network),
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
            bn_stats=train.bn_stats,
            order=self.order,
        )
