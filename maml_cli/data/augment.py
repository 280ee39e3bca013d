"""Training pictures changed at random, with torchvision's transforms."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from maml_cli.core import noise
from maml_cli.core.torchvision_guard import import_torchvision

Change = Literal["crop", "flip", "colour"]
Augment = Annotated[
    list[Change] | None,
    Field(min_length=1, description="random changes of each training picture; null: none"),
]
ORDER: tuple[Change, ...] = ("crop", "flip", "colour")
PADDING = 8 / 84
"""A crop moves a picture by up to this part of its size."""
STRENGTH = 0.4
"""Brightness, contrast and saturation change by up to this part."""


class Augmentation:
    """Random changes of pictures, each picture by itself: where it lies, its side, its colours.

    The strengths are those of Tian et al., "Rethinking few-shot image classification: a good
    embedding is all you need?", ECCV 2020; but a crop mirrors a picture at its edge, where theirs
    shows black.
    """

    def __init__(self, changes: Sequence[Change], size: int) -> None:
        v2 = import_torchvision("torchvision.transforms.v2")
        padding = round(PADDING * size)
        known: dict[Change, Callable[[Tensor], Tensor]] = {
            "crop": v2.RandomCrop(size, padding=padding, padding_mode="reflect"),
            "flip": v2.RandomHorizontalFlip(),
            "colour": v2.ColorJitter(STRENGTH, STRENGTH, STRENGTH),
        }
        said = {
            "crop": f"moved by up to {padding} of {size} pixels",
            "flip": "mirrored left to right",
            "colour": f"brightness, contrast and saturation by up to {STRENGTH:.0%}",
        }
        chosen = [name for name in ORDER if name in changes]
        self._changes = [known[name] for name in chosen]
        self.remark = f"training pictures changed at random: {'; '.join(said[n] for n in chosen)}"
        """For every table."""

    def __call__(self, pictures: Tensor, keys: Tensor, part: str) -> Tensor:
        """The pictures of some episodes, changed.

        `pictures` is `(episodes, pictures, channels, height, width)` uint8, `keys` `(episodes, 2)`
        are the episodes' keys. `part` names what the pictures are, so that the support set and the
        queries differ. An episode's changes are a function of its key.
        """
        tasks = zip(pictures, keys, strict=True)
        return torch.stack([self._episode(some, key, part) for some, key in tasks])

    def _episode(self, pictures: Tensor, key: Tensor, part: str) -> Tensor:
        # the transforms draw from torch's global generator, on the CPU
        with torch.random.fork_rng(devices=[]):
            seed = int(noise.words(key, f"augment {part}", 1))
            torch.default_generator.manual_seed(seed)
            return torch.stack([self._picture(picture) for picture in pictures])

    def _picture(self, picture: Tensor) -> Tensor:
        for change in self._changes:
            picture = change(picture)
        return picture
