"""Baselines for images: a classifier of all training classes, used on classes it has not seen.

Source: Vinyals et al. 2016, section 4.1, and Ravi & Larochelle 2017, section 5.1.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from maml_cli.algos.pretrained import Downstream, FineTuning, PretrainedLearner
from maml_cli.comparison.comparer import Comparer
from maml_cli.comparison.examples import Examples, nearest
from maml_cli.comparison.similarities import Cosine
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network, Part
from maml_cli.core.schedules import outer_rate
from maml_cli.core.settings import STRICT, AlgorithmDefaults, TrainSettings
from maml_cli.core.types import Episode, TaskSource, Tensors
from maml_cli.inner.directions import DIRECTIONS, optional_toggles
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.rates import ConstantRate
from maml_cli.inner.update_rules import Descent


def with_blank_head(network: Tensors, ways: int) -> dict[str, Tensor]:
    """The network with a zero head of `ways` outputs."""
    head = network["head.weight"]
    blank = {"head.weight": head.new_zeros(ways, head.shape[1]), "head.bias": head.new_zeros(ways)}
    return {**network, **blank}


@settings(frozen=True, kw_only=True, config=STRICT)
class FineTune(AlgorithmDefaults):
    """The settings of fine-tuning: a new head for each task, and gradient descent."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="gradient steps at evaluation")]
    inner_lr: Annotated[float, Field(gt=0, le=10, description="their learning rate")]
    inner_optimizer: Annotated[
        Literal["sgd", "momentum", "adam"],
        Field(description="of those steps; momentum 0.9; adam with its usual constants"),
    ]
    proximal: Annotated[
        float,
        Field(ge=0, description="weight l of l/2 |phi - start|^2 in the support loss; 0: none"),
    ]
    adapts: Annotated[
        list[Part],
        Field(min_length=1, description="parts of the network that they change"),
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        problems = _without_classes(self.name, experiment)
        if "head" not in self.adapts:
            problems.append(
                f"algo.adapts=[{','.join(self.adapts)}] leaves a new task's head at zero: add head"
            )
        return problems

    @property
    def together(self) -> bool:
        """See `Algorithm.together`."""
        return True

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force: what adapts."""
        return {
            "adapts": " and ".join(self.adapts),
            **optional_toggles(self.inner_optimizer, self.proximal),
        }

    def build(
        self, network: Network, source: TaskSource, train: TrainSettings
    ) -> PretrainedLearner:
        """Turn the settings into parts."""
        rates = ConstantRate(self.inner_lr)
        inner = InnerLoop(
            network=network,
            objective=source.objective,
            adapts=tuple(self.adapts),
            rule=Descent(direction=DIRECTIONS[self.inner_optimizer], rates=rates),
            start=lambda theta, _: with_blank_head(theta["model"], source.output_size),
            proximal=self.proximal,
        )
        return classifier(network, source, train, FineTuning(inner), steps=self.inner_steps)


@settings(frozen=True, kw_only=True, config=STRICT)
class NearestNeighbour(AlgorithmDefaults):
    """The settings of the nearest neighbour by the cosine of features: there are none.

    The score of class k is `max cos(f(query), f(x))` over the support examples x of k, where f are
    the features of the pretrained network. Source: Vinyals et al. 2016, section 4.1.
    """

    name: str

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        return _without_classes(self.name, experiment) or experiment.eval.check_no_steps(self.name)

    @property
    def together(self) -> bool:
        """See `Algorithm.together`."""
        return True

    def build(
        self, network: Network, source: TaskSource, train: TrainSettings
    ) -> PretrainedLearner:
        """Turn the settings into parts."""
        comparer = Comparer(network=network, comparison=Examples(Cosine(), nearest))
        return classifier(network, source, train, comparer, steps=0)


def classifier(
    network: Network,
    source: TaskSource,
    train: TrainSettings,
    downstream: Downstream,
    *,
    steps: int,
) -> PretrainedLearner:
    """A network with an output for every training class, and what is done with it at the test."""
    return PretrainedLearner(
        steps=steps,
        outputs=source.train_classes,
        network=network,
        objective=source.objective,
        labelled=by_class_number,
        downstream=downstream,
        outer_lr_schedule=outer_rate(train),
    )


def by_class_number(episodes: Episode) -> Episode:
    """A batch of episodes whose labels are the numbers of the classes within their split."""
    return episodes._replace(
        support_y=episodes.classes.gather(1, episodes.support_y),
        query_y=episodes.classes.gather(1, episodes.query_y),
    )


def _without_classes(name: str, experiment: Experiment) -> list[str]:
    problems = experiment.train.check_bn_stats(name)
    if experiment.run.ways > 1:
        return problems
    return [
        *problems,
        f"algo={name} pretrains a classifier, but ways=1 leaves nothing to tell apart: choose a "
        "data set of images and ways of at least 2, or algo=pretrained",
    ]
