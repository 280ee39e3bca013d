"""What `bench.py` times: the official MAML++ code's iterations, as this program's settings."""

from dataclasses import dataclass
from typing import Any

import torch

from maml_cli.core.objective import CLASSIFICATION, Objective
from maml_cli.core.settings import TrainSettings
from maml_cli.core.types import Episode

STEPS = 5
MAMLPP: dict[str, Any] = {
    "name": "mamlpp",
    "inner_steps": STEPS,
    "inner_lr": 0.1,
    "inner_lr_max": None,
    "adapts": ["body", "head"],
    "order": 2,
    "msl": True,
    "msl_epochs": 10,
    "da": False,
    "da_epochs": 0,
    "bnrs": True,
    "bnwb": True,
    "lslr": True,
    "rate_per_weight": False,
    "ca": True,
    "recompute": False,
}
PLAIN = {**MAMLPP, "name": "maml", "bnrs": False, "bnwb": False, "lslr": False}
"""MAML with the multi-step loss: what the general-purpose libraries can express."""


@dataclass(frozen=True)
class Shapes:
    """What a learner asks of a task source."""

    input_shape: tuple[int, ...]
    output_size: int
    objective: Objective = CLASSIFICATION


@dataclass(frozen=True, kw_only=True)
class Case:
    """One iteration's work."""

    name: str
    algo: dict[str, Any]
    ways: int
    shots: int
    queries: int
    tasks: int
    filters: int
    image: tuple[int, int, int]

    @property
    def source(self) -> Shapes:
        return Shapes(self.image, self.ways)

    @property
    def train(self) -> TrainSettings:
        return TrainSettings(
            epochs=100,
            iterations_per_epoch=500,
            tasks_per_batch=self.tasks,
            task_pool=None,
            outer_lr=1e-3,
            min_outer_lr=1e-5,
            grad_clip=None,
            on_nonfinite="stop",
            max_time=None,
        )


OMNIGLOT = {"shots": 1, "queries": 1, "tasks": 8, "filters": 64, "image": (1, 28, 28)}
MINI = {"shots": 1, "queries": 15, "tasks": 2, "filters": 48, "image": (3, 84, 84)}
CASES = {
    case.name: case
    for case in (
        Case(name="omniglot-20way-mamlpp", algo=MAMLPP, ways=20, **OMNIGLOT),
        Case(name="omniglot-5way-mamlpp", algo=MAMLPP, ways=5, **OMNIGLOT),
        Case(name="mini-imagenet-5way-mamlpp", algo={**MAMLPP, "inner_lr": 0.01}, ways=5, **MINI),
        Case(name="omniglot-20way-mamlpp-order1", algo={**MAMLPP, "order": 1}, ways=20, **OMNIGLOT),
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
