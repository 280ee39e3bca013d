"""What `bench.py` times: the official MAML++ code's iterations, as this program's settings."""

from dataclasses import dataclass
from typing import Any

import torch

from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.core.experiment import Experiment
from maml_cli.core.objective import CLASSIFICATION
from maml_cli.core.types import Episode
from maml_cli.testing.problems import Source

STEPS = 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """One iteration's work."""

    name: str
    algo: str
    switches: dict[str, Any]
    ways: int
    shots: int
    queries: int
    tasks: int
    filters: int
    image: tuple[int, int, int]

    @property
    def experiment(self) -> Experiment:
        """The settings, as the command line composes them."""
        switches = [f"algo.{key}={value}" for key, value in self.switches.items()]
        words = [
            *(f"algo={self.algo}", "dataset=omniglot", "train.epochs=100", *switches),
            *("dataset.rotations=classes", "dataset.rotate_test=true"),  # enough classes
            *(f"ways={self.ways}", f"shots={self.shots}", f"queries={self.queries}"),
            *(f"train.tasks_per_batch={self.tasks}", f"backbone.filters={self.filters}"),
        ]
        return build(Composer().compose(words), command="")

    @property
    def source(self) -> Source:
        """What an algorithm asks of a source of episodes."""
        return Source(
            input_shape=self.image,
            output_size=self.ways,
            train_classes=self.ways,
            objective=CLASSIFICATION,
        )


OMNIGLOT: dict[str, Any] = {
    "shots": 1,
    "queries": 1,
    "tasks": 8,
    "filters": 64,
    "image": (1, 28, 28),
}
MINI: dict[str, Any] = {
    "shots": 1,
    "queries": 15,
    "tasks": 2,
    "filters": 48,
    "image": (3, 84, 84),
}
MAMLPP: dict[str, Any] = {"da": "false", "msl": "true", "msl_epochs": 10}
SLOW = {**MAMLPP, "inner_lr": 0.01}
CASES = {
    case.name: case
    for case in (
        Case(name="omniglot-20way-mamlpp", algo="mamlpp", switches=MAMLPP, ways=20, **OMNIGLOT),
        Case(name="omniglot-5way-mamlpp", algo="mamlpp", switches=MAMLPP, ways=5, **OMNIGLOT),
        Case(name="mini-imagenet-5way-mamlpp", algo="mamlpp", switches=SLOW, ways=5, **MINI),
        Case(
            name="omniglot-20way-mamlpp-order1",
            algo="mamlpp",
            switches={**MAMLPP, "order": 1},
            ways=20,
            **OMNIGLOT,
        ),
        # with the multi-step loss: what the general-purpose libraries can express
        Case(
            name="omniglot-20way-maml",
            algo="maml",
            switches={"msl": "true", "msl_epochs": 10},
            ways=20,
            **OMNIGLOT,
        ),
        Case(name="omniglot-5way-fomaml", algo="fomaml", switches={}, ways=5, **OMNIGLOT),
        Case(name="omniglot-5way-anil", algo="anil", switches={}, ways=5, **OMNIGLOT),
        # one batch to batch norm, as learn2learn's example has it; two, as in easyfsl
        Case(
            name="omniglot-60way-protonet",
            algo="protonet",
            switches={"joint_norm": "true"},
            ways=60,
            **(OMNIGLOT | {"queries": 5, "tasks": 1}),
        ),
        Case(
            name="omniglot-60way-protonet-apart",
            algo="protonet",
            switches={"joint_norm": "false"},
            ways=60,
            **(OMNIGLOT | {"queries": 5, "tasks": 1}),
        ),
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
    keys = torch.arange(2 * case.tasks).view(case.tasks, 2)
    return Episode(*half(case.shots), *half(case.queries), classes, keys)
