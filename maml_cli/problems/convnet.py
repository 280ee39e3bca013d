"""Fitting a small convolutional network to ten classes (Andrychowicz et al. 2016, section 3.3)."""

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor

from maml_cli.core.errors import DataError
from maml_cli.core.network import Network
from maml_cli.core.norms import LinearLayer, Norm
from maml_cli.core.settings import STRICT, OfProblems, RunSettings
from maml_cli.core.torchvision_guard import import_torchvision
from maml_cli.core.types import Tensors
from maml_cli.data.images import ImagePool, consecutive
from maml_cli.data.mini_imagenet import MiniImageNet
from maml_cli.problems.image_problems import CLASSES, ImageProblems, Pictures, Start

SIDE = 32
FILTERS = 16
DENSE = 32
EPS = 1e-3
VALIDATION = 5000
"""Of CIFAR-10's training images, the last ones."""


class ThreeConvolutions(Network):
    """Three blocks, a dense layer of 32 units with ReLU, and the head.

    A block has a 5x5 convolution, batch norm with a bias alone, ReLU and 2x2 max-pooling.
    """

    convolutional = True

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.input_shape, self.feature_shape = input_shape, (DENSE,)
        self.norms = {f"body.{block}.norm": FILTERS for block in range(3)}

    def init(self, generator: Generator) -> dict[str, Tensor]:
        channels, side, _ = self.input_shape
        shapes: dict[str, tuple[int, ...]] = {}
        for block in range(3):
            inputs = FILTERS if block else channels
            shapes[f"body.{block}.conv.weight"] = (FILTERS, inputs, 5, 5)
            shapes[f"body.{block}.conv.bias"] = (FILTERS,)
        shapes["body.dense.weight"] = (DENSE, FILTERS * (side // 8) ** 2)
        shapes["body.dense.bias"] = (DENSE,)
        drawn = _uniform(shapes, generator)
        norms = {f"{norm}.bias": torch.zeros(size) for norm, size in self.norms.items()}
        return drawn | norms

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        return _uniform({"head.weight": (outputs, DENSE), "head.bias": (outputs,)}, generator)

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        convolve = partial(F.conv2d, padding=2)
        for block in (f"body.{i}" for i in range(3)):
            weight, bias = params[f"{block}.conv.weight"], params[f"{block}.conv.bias"]
            source = LinearLayer(x, weight, bias, convolve)
            x = norm(f"{block}.norm", F.conv2d(x, weight, bias, padding=2), params, EPS, source)
            x = F.max_pool2d(F.relu(x), 2)
        dense = F.linear(x.flatten(1), params["body.dense.weight"], params["body.dense.bias"])
        return F.relu(dense)


def _uniform(shapes: Mapping[str, tuple[int, ...]], generator: Generator) -> dict[str, Tensor]:
    """In +-1/sqrt(inputs) of each layer, biases too."""
    found = {}
    for name, shape in shapes.items():
        bound = prod(shapes[name.replace("bias", "weight")][1:]) ** -0.5
        found[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    return found


def cifar10(run: RunSettings, device: torch.device) -> Pictures:
    """CIFAR-10 by torchvision, in `data_dir`; raises DataError."""
    datasets = import_torchvision("torchvision.datasets")
    try:
        whole, test = (
            datasets.CIFAR10(run.data_dir, train=train, download=run.download)
            for train in (True, False)
        )
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"CIFAR-10: {Path(run.data_dir).absolute()} has no whole cifar-10-batches-py ({error})",
            "Set data_dir (or MAML_DATA_DIR) to the folder that holds it, set download=true, or "
            "use dataset.images=mini_imagenet.",
        ) from error
    parts = {
        "train": (whole.data[:-VALIDATION], whole.targets[:-VALIDATION]),
        "val": (whole.data[-VALIDATION:], whole.targets[-VALIDATION:]),
        "test": (test.data, test.targets),
    }
    pools = {}
    for split, (images, targets) in parts.items():
        labels = np.array(targets)
        sorted_ = torch.from_numpy(images[labels.argsort(kind="stable")]).permute(0, 3, 1, 2)
        counts = np.bincount(labels, minlength=CLASSES)
        pools[split] = ImagePool(images=sorted_.to(device), classes=consecutive(counts))
    return Pictures(pools, ("CIFAR-10",))


def mini_imagenet(run: RunSettings, device: torch.device) -> Pictures:
    """Mini-ImageNet at 32x32, a stand-in for CIFAR-10; raises DataError."""
    form = MiniImageNet(
        name="mini_imagenet",
        image_size=SIDE,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        augment=None,
        allow_incomplete=False,
    )
    tasks = form.load(run, device)
    said = "Mini-ImageNet at 32x32 in place of CIFAR-10: each problem has ten classes of its split"
    return Pictures(tasks.pools, (said, *tasks.remarks))


LOADERS: Mapping[str, Callable[[RunSettings, torch.device], Pictures]] = {
    "cifar10": cifar10,
    "mini_imagenet": mini_imagenet,
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConvNet(OfProblems):
    """Cross-entropy of `ThreeConvolutions`; batch norms use the statistics of the batch."""

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    images: Annotated[
        Literal["cifar10", "mini_imagenet"],
        Field(description="CIFAR-10, or Mini-ImageNet at 32x32 as a stand-in, in data_dir"),
    ]
    batch: Annotated[int, Field(ge=2, le=65536, description="images per step")]
    start: Annotated[
        Start, Field(description="small: normal, 0.01; usual: uniform +-1/sqrt(inputs)")
    ]

    def load(self, run: RunSettings, device: torch.device) -> ImageProblems:
        """The problems; raises DataError."""
        pictures = LOADERS[self.images](run, device)
        shape = tuple(pictures.pools["train"].images.shape[1:])
        return ImageProblems(
            pictures,
            ThreeConvolutions(shape),
            seed=run.seed,
            device=device,
            batch=self.batch,
            start=self.start,
            remarks=(f"three 5x5 convolutions, {self.start} start, batches of {self.batch}",),
        )
