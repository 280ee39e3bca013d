"""Small learning problems whose meta-gradients can be worked out on paper."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.config.build import inspect
from maml_cli.config.compose import Composer
from maml_cli.core.algorithm import MetaParameters, MetaStep, flat, nested
from maml_cli.core.network import Network
from maml_cli.core.objective import CLASSIFICATION, REGRESSION, Objective
from maml_cli.core.settings import BatchNormStats
from maml_cli.core.types import Episode, Evaluation, Progress
from maml_cli.engines.choice import make_engine
from maml_cli.engines.engine import Engine

CPU = torch.device("cpu")


@cache
def composed(*arguments: str) -> Any:
    """The experiment of a command line, even if its parts do not go together."""
    config = Composer().compose(list(arguments))
    return inspect(config, fallback=config, command="")[0]


def shipped(group: str, name: str, **changes: Any) -> Any:
    """The settings of a group's YAML, with changes."""
    return replace(getattr(composed(f"{group}={name}"), group), **changes)


TRAIN = replace(
    composed("algo=maml").train, epochs=100, iterations_per_epoch=500, tasks_per_batch=2
)
RUN = composed("algo=maml").run
EXPERIMENT = replace(composed("algo=maml"), train=TRAIN)


def maml(**changes: Any) -> Any:
    """MAML's settings, all switches off but those named; two inner steps."""
    fields = {"inner_steps": 2, "msl_epochs": 10, "da_epochs": 1} | changes
    return shipped("algo", "maml", **fields)


def evaluated(after: Iterable[int], bn_stats: BatchNormStats) -> Evaluation:
    """An evaluation after so many inner steps."""
    return Evaluation(tuple(after), bn_stats)


def at_epoch(epoch: int) -> Progress:
    """Progress at the first iteration of an epoch of `TRAIN`."""
    return Progress(iteration=epoch * 500, epoch=epoch, iterations=50_000, epochs=100)


class Toy(Network):
    """A network of one parameter, its head; subclasses answer with it."""

    input_shape = (1,)
    feature_shape = (1,)
    start: tuple[float, ...] = (3.0,)

    def init(self, generator: object) -> dict[str, Tensor]:
        return {}

    def init_head(self, outputs: int, generator: object) -> dict[str, Tensor]:
        return {"head.weight": torch.tensor(self.start)}

    def features(self, params: object, x: Tensor, norm: object) -> Tensor:
        return x

    def head(self, params: Any, features: Tensor) -> Tensor:
        return params["head.weight"] * features


class Line(Toy):
    """A network with one weight w = 3: it answers `w * x`; the squared error is quadratic in w."""


class Body(Toy):
    """The same, where the weight is the body's."""

    def init(self, generator: object) -> dict[str, Tensor]:
        return {"body.weight": torch.tensor([3.0])}

    def init_head(self, outputs: int, generator: object) -> dict[str, Tensor]:
        return {}

    def features(self, params: Any, x: Tensor, norm: object) -> Tensor:
        return params["body.weight"] * x

    def head(self, params: Any, features: Tensor) -> Tensor:
        return features


class Linear(Toy):
    """Features are the inputs, the head is linear and starts at 0."""

    def __init__(self, size: int) -> None:
        self.feature_shape = (size,)

    def init_head(self, outputs: int, generator: object) -> dict[str, Tensor]:
        size = self.feature_shape[0]
        return {"head.weight": torch.zeros(outputs, size), "head.bias": torch.zeros(outputs)}

    def head(self, params: Any, features: Tensor) -> Tensor:
        return F.linear(features, params["head.weight"], params["head.bias"])


def conv4(**changes: Any) -> Any:
    """MAML++'s network, of 4 filters."""
    return shipped("backbone", "conv4", **{"filters": 4} | changes)


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


class Learner:
    """An engine with an algorithm, whose parameters have flat names: `SECTION.NAME`."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.algorithm = engine, engine.algorithm
        self.steps = engine.algorithm.steps

    def init(self, seed: int) -> MetaParameters:
        params = self.algorithm.init(seed)
        return MetaParameters(theta=flat(params.theta), state=flat(params.state))

    def meta_gradient(self, params: Any, episodes: Episode, progress: Progress) -> MetaStep:
        step = self.engine.meta_gradient(deep(params), episodes, progress)
        return replace(step, gradient=flat(step.gradient), state=flat(step.state))

    def predict(self, params: Any, episodes: Episode, evaluation: Evaluation) -> Tensor:
        """Of one sample: `(tasks, evaluation steps, queries, outputs)`."""
        return self.engine.predict(deep(params), episodes, evaluation).squeeze(2)


def deep(params: MetaParameters) -> MetaParameters:
    """From flat names to sections."""
    return MetaParameters(theta=nested(params.theta), state=nested(params.state))


def built(
    settings: Any, network: Any, source: Any, engine: str = "loop", bn_stats: str = "batch"
) -> Learner:
    """An algorithm's settings for a network (or a backbone's settings) on an engine."""
    if not isinstance(network, Network):
        network = network.build(source.input_shape)
    train = replace(TRAIN, bn_stats=bn_stats)
    return Learner(make_engine(engine, settings.build(network, source, train), CPU))


def learner(
    network: Any, source: Any, *, engine: str = "loop", bn_stats: str = "batch", **changes: Any
) -> Learner:
    """A learner of MAML's family with all switches off but those named."""
    return built(maml(**changes), network, source, engine, bn_stats)


def start(backbone: Any, shape: tuple[int, ...], outputs: int, generator: Any) -> dict[str, Tensor]:
    """Fresh parameters of a backbone's network, its head included."""
    network = backbone.build(shape)
    return network.init(generator) | network.init_head(outputs, generator)


def outputs_of(backbone: Any, params: Any, x: Tensor, norm: Any) -> Tensor:
    """The outputs of a backbone's network for a batch of inputs."""
    return backbone.build(tuple(x.shape[1:])).outputs(params, x, norm)


def keys(tasks: int) -> Tensor:
    """Different keys for so many episodes."""
    return torch.arange(2 * tasks).view(tasks, 2)


def points(*targets: tuple[float, float], x: float = 1.0) -> Episode:
    """A batch of one-point tasks: support target and query target, both at input x."""
    support = torch.tensor([[[s]] for s, _ in targets])
    query = torch.tensor([[[q]] for _, q in targets])
    at = torch.full_like(support, x)
    tasks = len(targets)
    return Episode(at, support, at, query, torch.zeros(tasks, 1, dtype=torch.int64), keys(tasks))


def image_batch(tasks: int, ways: int, shots: int, queries: int, source: FakeSource) -> Episode:
    """Random float64 images with class-sorted labels."""
    generator = torch.Generator().manual_seed(11)

    def pictures(per_class: int) -> Tensor:
        shape = (tasks, ways * per_class, *source.input_shape)
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    def labels(per_class: int) -> Tensor:
        return torch.arange(ways).repeat_interleave(per_class).expand(tasks, -1)

    classes = torch.arange(ways).expand(tasks, -1)
    return Episode(
        pictures(shots), labels(shots), pictures(queries), labels(queries), classes, keys(tasks)
    )


def double(params: MetaParameters) -> MetaParameters:
    """The same values in float64."""
    return MetaParameters(
        theta={n: t.double() for n, t in params.theta.items()},
        state={n: t.double() for n, t in params.state.items()},
    )
