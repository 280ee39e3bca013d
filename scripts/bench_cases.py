"""What `bench.py` times: the official MAML++ code's iterations, as this program's settings."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from maml_cli.algos.maml import MAML
from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.objective import CLASSIFICATION, Objective
from maml_cli.core.settings import TrainSettings
from maml_cli.core.types import Episode


@cache
def shipped(algo: str) -> Experiment:
    """An algorithm as it is shipped, with conv4 and the official MAML++ code's schedule."""
    return build(Composer().compose([f"algo={algo}", "backbone=conv4", "train=htym"]), command="")


def family(algo: str, **changes: Any) -> MAML:
    """Settings of the MAML family."""
    return replace(shipped(algo).algo, **changes)


MAMLPP = family("mamlpp", da=False)
FIRST_ORDER = replace(MAMLPP, order=1)
PLAIN = family("maml", msl=True, ca=True)
"""MAML with the multi-step loss: what the general-purpose libraries can express."""


@dataclass(frozen=True)
class Shapes:
    """What a learner asks of a task source."""

    input_shape: tuple[int, ...]
    output_size: int
    train_classes: int
    objective: Objective = CLASSIFICATION


@dataclass(frozen=True, kw_only=True)
class Case:
    """One iteration's work."""

    name: str
    algo: MAML
    ways: int
    shots: int
    queries: int
    tasks: int
    filters: int
    image: tuple[int, int, int]

    @property
    def source(self) -> Shapes:
        return Shapes(self.image, self.ways, self.ways)

    @property
    def train(self) -> TrainSettings:
        return replace(shipped("mamlpp").train, tasks_per_batch=self.tasks)

    @property
    def network(self) -> Network:
        return replace(shipped("mamlpp").backbone, filters=self.filters).build(self.image)


OMNIGLOT = {"shots": 1, "queries": 1, "tasks": 8, "filters": 64, "image": (1, 28, 28)}
MINI = {"shots": 1, "queries": 15, "tasks": 2, "filters": 48, "image": (3, 84, 84)}
CASES = {
    case.name: case
    for case in (
        Case(name="omniglot-20way-mamlpp", algo=MAMLPP, ways=20, **OMNIGLOT),
        Case(name="omniglot-5way-mamlpp", algo=MAMLPP, ways=5, **OMNIGLOT),
        Case(name="mini-imagenet-5way-mamlpp", algo=replace(MAMLPP, inner_lr=0.01), ways=5, **MINI),
        Case(name="omniglot-20way-mamlpp-order1", algo=FIRST_ORDER, ways=20, **OMNIGLOT),
        Case(name="omniglot-20way-maml", algo=PLAIN, ways=20, **OMNIGLOT),
    )
}


def batch_of(case: Case) -> Episode:
    """A batch of random images, the same at every call."""
    generator = torch.Generator().manual_seed(0)

    def half(per_class: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(case.ways).repeat_interleave(per_class)
        shape = (case.tasks, case.ways * per_class, *case.image)
        return torch.rand(shape, generator=generator), labels.expand(case.tasks, -1)

    classes = torch.arange(case.ways).expand(case.tasks, -1)
    key = torch.zeros(case.tasks, 2, dtype=torch.int64)
    return Episode(*half(case.shots), *half(case.queries), classes, key)
