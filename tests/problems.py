"""Small learning problems whose meta-gradients can be worked out on paper."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.algos.maml import MAML
from maml_cli.backbones.conv4 import Conv4
from maml_cli.core.learner import MetaParameters
from maml_cli.core.objective import CLASSIFICATION, REGRESSION, Objective
from maml_cli.core.settings import BatchNormStats, RunSettings, TrainSettings
from maml_cli.core.types import Episode, Looks, Progress
from maml_cli.engines.engines import make_engine

ALL_OFF: dict[str, Any] = {
    "name": "test",
    "inner_steps": 2,
    "inner_lr": 0.1,
    "inner_lr_max": None,
    "adapts": ["body", "head"],
    "order": 2,
    "msl": False,
    "msl_epochs": 10,
    "da": False,
    "da_epochs": 1,
    "bnrs": False,
    "bnwb": False,
    "lslr": False,
    "rate_per_weight": False,
    "ca": False,
    "recompute": False,
}

RUN = RunSettings(
    ways=5,
    train_ways=None,
    shots=1,
    train_shots=None,
    queries=1,
    train_queries=None,
    seed=0,
    device="cpu",
    engine="loop",
    data_dir="data",
    cache_dir="cache",
    resume="never",
    download=False,
)

TRAIN = TrainSettings(
    epochs=100,
    iterations_per_epoch=500,
    tasks_per_batch=2,
    task_pool=None,
    outer_lr=1e-3,
    min_outer_lr=1e-5,
    grad_clip=None,
    on_nonfinite="stop",
    max_time=None,
)


def looks(after: Iterable[int], bn_stats: BatchNormStats) -> Looks:
    """Looks at the queries after so many inner steps."""
    return Looks(tuple(after), bn_stats)


def at_epoch(epoch: int) -> Progress:
    """Progress at the first iteration of an epoch of `TRAIN`."""
    return Progress(iteration=epoch * 500, epoch=epoch, iterations=50_000, epochs=100)


class Line:
    """A network with one weight w: it answers `w * x`; the squared error is quadratic in w."""

    name = "line"

    def init(
        self, input_shape: tuple[int, ...], outputs: int, generator: Generator
    ) -> dict[str, Tensor]:
        return {"head.weight": torch.tensor([3.0])}

    def apply(self, params: Mapping[str, Tensor], x: Tensor, norm: object) -> Tensor:
        return params["head.weight"] * x


def conv4(**changes: Any) -> Conv4:
    """MAML++'s network, of 4 filters."""
    form: dict[str, Any] = {
        "name": "conv4",
        "filters": 4,
        "downsample": "max_pool",
        "negative_slope": 0.01,
        "norm_gain": True,
        "norm_eps": 1e-5,
        "features": "flatten",
        "head_init": "xavier",
    }
    return Conv4(**form | changes)


@dataclass
class FakeSource:
    """What a learner asks of a task source: shapes, the training classes and the objective."""

    input_shape: tuple[int, ...] = (1,)
    output_size: int = 1
    objective: Objective = REGRESSION
    train_classes: int = 1


def images(ways: int, channels: int = 1, side: int = 16) -> FakeSource:
    """A source of `ways`-way classification of square images."""
    return FakeSource((channels, side, side), ways, CLASSIFICATION, train_classes=ways)


def learner(backbone: Any, source: Any, *, engine: str = "loop", **changes: Any) -> GradientLearner:
    """A learner with all switches off but those named."""
    built = make_engine(engine)
    return MAML(**{**ALL_OFF, **changes}).build(backbone, source, TRAIN, built)


def points(*targets: tuple[float, float], x: float = 1.0) -> Episode:
    """A batch of one-point tasks: support target and query target, both at input x."""
    support = torch.tensor([[[s]] for s, _ in targets])
    query = torch.tensor([[[q]] for _, q in targets])
    at = torch.full_like(support, x)
    classes = torch.zeros(len(targets), 1, dtype=torch.int64)
    key = torch.arange(2 * len(targets)).view(-1, 2)
    return Episode(at, support, at, query, classes, key)


def image_batch(tasks: int, ways: int, shots: int, queries: int, source: FakeSource) -> Episode:
    """Random float64 images with class-sorted labels."""
    generator = torch.Generator().manual_seed(11)

    def pictures(per_class: int) -> Tensor:
        shape = (tasks, ways * per_class, *source.input_shape)
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    def labels(per_class: int) -> Tensor:
        return torch.arange(ways).repeat_interleave(per_class).expand(tasks, -1)

    classes = torch.arange(ways).expand(tasks, -1)
    key = torch.arange(2 * tasks).view(tasks, 2)
    support, query = (pictures(shots), labels(shots)), (pictures(queries), labels(queries))
    return Episode(*support, *query, classes, key)


def double(params: MetaParameters) -> MetaParameters:
    """The same values in float64."""
    return MetaParameters(
        theta={n: t.double() for n, t in params.theta.items()},
        state={n: t.double() for n, t in params.state.items()},
    )
