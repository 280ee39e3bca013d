"""Fitting a small MLP to images of ten classes (Andrychowicz et al. 2016, section 3.2)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.backbones.mlp import MLP, Activation
from maml_cli.core.settings import STRICT, OfProblems, RunSettings
from maml_cli.problems.image_problems import ImageProblems, Start
from maml_cli.problems.ten_classes import LOADERS


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DigitsMLP(OfProblems):
    """Softmax cross-entropy of an MLP; problems differ in their start and in their minibatches."""

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    images: Annotated[
        Literal["drawn", "mnist", "fashion_mnist"],
        Field(description="drawn digits, or files in MNIST's format in data_dir"),
    ]
    hidden: Annotated[
        list[Annotated[int, Field(ge=1, le=65536)]],
        Field(max_length=64, description="units of each hidden layer"),
    ]
    activation: Annotated[Activation, Field(description="of the hidden layers")]
    batch: Annotated[int, Field(ge=1, le=65536, description="images per step")]
    start: Annotated[
        Start, Field(description="small: normal, 0.01; usual: uniform +-1/sqrt(inputs)")
    ]

    def load(self, run: RunSettings, device: torch.device) -> ImageProblems:
        """The problems; raises DataError."""
        pictures = LOADERS[self.images](run, device)
        form = MLP(
            name=self.name,
            hidden=self.hidden,
            activation=self.activation,
            batch_norm=False,
            norm_gain=False,
            norm_eps=1e-5,
            weight_init="uniform",
        )
        layers = " and ".join(map(str, self.hidden)) or "no hidden"
        told = f"MLP of {layers} units, {self.activation}, {self.start} start"
        return ImageProblems(
            pictures,
            form.build(tuple(pictures.pools["train"].images.shape[1:])),
            seed=run.seed,
            device=device,
            batch=self.batch,
            start=self.start,
            remarks=(f"{told}, batches of {self.batch}",),
        )
