"""Training pictures changed at random, with torchvision's transforms."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from maml_cli.core import noise

Change = Literal["crop", "flip", "colour"]
Augment = Annotated[
    list[Change] | None,
    Field(min_length=1, description="random changes of training pictures; null: none"),
]
PADDING = 84 // 8
"""A crop moves a picture by up to this part of its size: 8 pixels of 84."""
COLOUR = 0.4
"""Brightness, contrast and saturation change by up to this part."""


class Augmentation:
    """Random crop, flip and colour, of each picture by itself.

    The strengths are those of Tian et al., "Rethinking few-shot image classification", 2020, except
    that a crop mirrors the picture at its edge instead of showing black.
    """

    def __init__(self, changes: Sequence[Change], size: int) -> None:
        from torchvision.transforms import v2
