"""The Neural Statistician: sets are told apart by what a generative model infers of them.

Source: Edwards & Storkey 2017. It learns from sets of pictures of one class, without any label.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.algos.comparing_learner import JOINT, ComparingLearner, check_comparing
from maml_cli.comparison.comparer import COMPARE, Comparer
from maml_cli.comparison.comparison import of_class
from maml_cli.comparison.statistician import Divergence, Likelihood, Statistician
from maml_cli.core.algorithm import LOG, MetaParameters, Ops, Phase, Sections
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, AlgorithmDefaults, TrainSettings
from maml_cli.core.types import Episode, TaskSource


@dataclass(frozen=True, kw_only=True)
class StatisticianLearner(ComparingLearner):
    """Maximises the bound of the sets that an episode's classes are, support and queries together.

    The network's features are what its statistics are made of. theta holds `model` and `compare`.
    """

    statistician: Statistician

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Phase, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """Minus the bound, per picture; the queries' scores are recorded, not learned from."""
        norm = ops.batch_stats()
        x = torch.cat([episode.support_x, episode.query_x])
        members = of_class(torch.cat([episode.support_y, episode.query_y]), len(episode.classes))
        features = self.comparer.network.features(params.theta["model"], x, norm)
        loss = self.statistician.negative_bound(
            params.theta[COMPARE], x, features, members=members, key=episode.key
        )
        scores = self.comparer.together(params, episode, features.detach(), norm)
        log = self.objective.log(scores, episode.query_y)
        return loss, {LOG: log, JOINT: norm.statistics}


@settings(frozen=True, kw_only=True, config=STRICT)
class NeuralStatistician(AlgorithmDefaults):
    """The settings of the Neural Statistician."""

    name: str
    context: Annotated[int, Field(ge=1, le=65536, description="numbers of a set's context")]
    latent: Annotated[int, Field(ge=1, le=65536, description="latent numbers of a picture")]
    units: Annotated[int, Field(ge=1, le=65536, description="of each hidden linear layer")]
    filters: Annotated[int, Field(ge=1, le=4096, description="channels of the decoder")]
    likelihood: Annotated[
        Likelihood, Field(description="of pixels: bernoulli for 0 to 1, else gaussian")
    ]
    divergence: Annotated[
        Divergence, Field(description="query_to_class: KL(query || class), or the reverse")
    ]
    sample_dropout: Annotated[
        bool, Field(description="in training, statistics are made of a random part of each set")
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        return check_comparing(self.name, experiment)

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"divergence": self.divergence, "sample_dropout": self.sample_dropout}

    def build(
        self, network: Network, source: TaskSource, train: TrainSettings
    ) -> StatisticianLearner:
        """Turn the settings into parts."""
        channels, height, width = source.input_shape
        statistician = Statistician(
            picture=(channels, height, width),
            context=self.context,
            latent=self.latent,
            units=self.units,
            filters=self.filters,
            likelihood=self.likelihood,
            divergence=self.divergence,
            sample_dropout=self.sample_dropout,
        )
        return StatisticianLearner(
            comparer=Comparer(network=network, comparison=statistician, running=(JOINT, JOINT)),
            statistician=statistician,
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
        )
