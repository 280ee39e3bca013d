"""Baselines for images: a classifier of all training classes, used on classes it has not seen.

Source: Vinyals et al. 2016, section 4.1, and Ravi & Larochelle 2017, section 5.1.
"""

from functools import partial
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.pretrained import PretrainedLearner
from maml_cli.core.experiment import Backbone, Experiment
from maml_cli.core.schedules import constant
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import Episode, TaskSource
from maml_cli.engines.engine import Engine
from maml_cli.inner.descent import Descent
from maml_cli.inner.downstream import Downstream, FineTuning, NearestExample, with_blank_head
from maml_cli.inner.norm_rows import SharedNorm
from maml_cli.inner.partition import Part, part_of
from maml_cli.inner.rates import ConstantRate
from maml_cli.inner.running_stats import RunningStats

RUNNING_STATS = RunningStats(rows=1)


@settings(frozen=True, kw_only=True, config=STRICT)
class FineTune:
    """The settings of fine-tuning: a new head for each task, and gradient descent."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="gradient steps at evaluation")]
    inner_lr: Annotated[float, Field(gt=0, le=10, description="their learning rate")]
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
    def splits(self) -> bool:
        return False  # batch norm sees them as one batch

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force: what adapts."""
        return {"adapts": " and ".join(self.adapts)}

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> PretrainedLearner:
        """Turn the settings into parts."""
        descent = Descent(
            forward=backbone.apply,
            objective=source.objective,
            rates=ConstantRate(self.inner_lr),
            norm_rows=SharedNorm(),
            running_stats=RUNNING_STATS,
            adapts=lambda name: part_of(name) in self.adapts,
        )
        start = partial(with_blank_head, ways=source.output_size)
        downstream = FineTuning(descent=descent, start=start)
        return classifier(backbone, source, train, engine, downstream, steps=self.inner_steps)


@settings(frozen=True, kw_only=True, config=STRICT)
class NearestNeighbour:
    """The settings of the nearest neighbour by the cosine of features: there are none."""

    name: str

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        steps = experiment.eval.inner_steps
        problems = _without_classes(self.name, experiment)
        if problems or not steps:
            return problems
        return [
            f"algo={self.name} takes no inner steps, but eval.inner_steps={steps}: "
            "set eval.inner_steps=null"
        ]

    @property
    def splits(self) -> bool:
        return False

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force: none."""
        return {}

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> PretrainedLearner:
        """Turn the settings into parts."""
        downstream = NearestExample(
            forward=backbone.apply, ways=source.output_size, running_stats=RUNNING_STATS
        )
        return classifier(backbone, source, train, engine, downstream, steps=0)


def classifier(
    backbone: Backbone,
    source: TaskSource,
    train: TrainSettings,
    engine: Engine,
    downstream: Downstream,
    *,
    steps: int,
) -> PretrainedLearner:
    """A network with an output for every training class, and what is done with it at test."""
    return PretrainedLearner(
        steps=steps,
        init_network=partial(backbone.init, source.input_shape, source.train_classes),
        forward=backbone.apply,
        objective=source.objective,
        labelled=by_class_number,
        running_stats=RUNNING_STATS,
        downstream=downstream,
        engine=engine,
        outer_lr=constant(train.outer_lr),
    )


def by_class_number(episodes: Episode) -> Episode:
    """A batch of episodes whose labels are the numbers of the classes within their split."""
    return episodes._replace(
        support_y=episodes.classes.gather(1, episodes.support_y),
        query_y=episodes.classes.gather(1, episodes.query_y),
    )


def _without_classes(name: str, experiment: Experiment) -> list[str]:
    if experiment.run.ways > 1:
        return []
    return [
        f"algo={name} pretrains a classifier, but ways=1 leaves nothing to tell apart: choose a "
        "data set of images and ways of at least 2, or algo=pretrained"
    ]
