"""Small learning problems in float64: a network, episodes, and what a source of episodes tells."""

from dataclasses import dataclass

import torch
from torch import Tensor

from maml_cli.backbones.conv4 import Conv4
from maml_cli.backbones.mlp import MLP
from maml_cli.core.network import Network
from maml_cli.core.objective import CLASSIFICATION, REGRESSION, Objective
from maml_cli.core.types import Episode


@dataclass(frozen=True, kw_only=True)
class Source:
    """What an algorithm asks of a source of episodes (`core/types.py`, `TaskSource`)."""

    input_shape: tuple[int, ...]
    output_size: int
    train_classes: int
    objective: Objective
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A network for the inputs of a source, and a batch of its episodes."""

    network: Network
    source: Source
    episodes: Episode


def classification(
    *, tasks: int = 3, ways: int = 3, shots: int = 2, queries: int = 2, side: int = 16
) -> Problem:
    """Random one-channel images and a small convolutional network with batch norms."""
    generator = torch.Generator().manual_seed(11)

    def half(per_class: int) -> tuple[Tensor, Tensor]:
        shape = (tasks, ways * per_class, 1, side, side)
        labels = torch.arange(ways).repeat_interleave(per_class).expand(tasks, -1)
        return torch.rand(shape, generator=generator, dtype=torch.float64), labels

    network = Conv4(
        name="conv4",
        filters=4,
        downsample="max_pool",
        negative_slope=0.01,
        norm_gain=True,
        kernel_init="xavier",
        norm_eps=1e-5,
        features="flatten",
        head_init="xavier",
    ).build((1, side, side))
    classes = torch.arange(ways).expand(tasks, -1)
    return Problem(
        network=network,
        source=Source(
            input_shape=(1, side, side),
            output_size=ways,
            train_classes=ways,
            objective=CLASSIFICATION,
        ),
        episodes=Episode(*half(shots), *half(queries), classes, _keys(tasks)),
    )


def regression(*, tasks: int = 3, points: int = 5) -> Problem:
    """Sine waves of random amplitudes, and a small network without norms."""
    generator = torch.Generator().manual_seed(12)
    amplitude = 1 + torch.rand((tasks, 1, 1), generator=generator, dtype=torch.float64)

    def half() -> tuple[Tensor, Tensor]:
        x = 10 * torch.rand((tasks, points, 1), generator=generator, dtype=torch.float64) - 5
        return x, amplitude * x.sin()

    network = MLP(
        name="mlp",
        hidden=[8, 8],
        activation="relu",
        batch_norm=False,
        norm_gain=True,
        norm_eps=1e-5,
        weight_init="uniform",
    ).build((1,))
    classes = torch.zeros(tasks, 1, dtype=torch.int64)
    return Problem(
        network=network,
        source=Source(input_shape=(1,), output_size=1, train_classes=1, objective=REGRESSION),
        episodes=Episode(*half(), *half(), classes, _keys(tasks)),
    )


def _keys(tasks: int) -> Tensor:
    return torch.arange(2 * tasks).view(tasks, 2) * 0x5851F42D4C957F2D
