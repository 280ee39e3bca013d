"""Printed characters of sixteen scripts: a data set that needs no files but matplotlib's fonts."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.settings import STRICT, RunSettings
from maml_cli.core.types import Split
from maml_cli.data.cache import cached_images
from maml_cli.data.glyph_characters import CHARACTERS
from maml_cli.data.glyph_renderer import SIZE, rendered
from maml_cli.data.images import ImageTasks, image_pool, shortfalls
from maml_cli.data.inventory import Inventory
from maml_cli.data.pictures import PictureForm, Recipe
from maml_cli.data.pixel_values import ValueRange
from maml_cli.data.record import UNBOUND, Binding, record_of_images, refuse_new

SAMPLES = 20
SPLIT_SIZES = {"train": 280, "val": 40, "test": 80}
CACHE_VERSION = 1
_SPLIT_SEED = 0


def split_classes() -> dict[str, NDArray[np.int64]]:
    """The classes of each split, as places in CHARACTERS: a fixed random order, cut in three."""
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(CHARACTERS))
    first, second = SPLIT_SIZES["train"], SPLIT_SIZES["train"] + SPLIT_SIZES["val"]
    return dict(zip(SPLIT_SIZES, np.split(order, [first, second]), strict=True))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Glyphs:
    """400 characters, 20 pictures of each: DejaVu's faces, slightly turned, sheared and moved."""

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]

    def check(self, run: RunSettings) -> list[str]:
        """What these run settings ask for that the characters do not have; draws nothing."""
        splits = {split: Split(classes, SAMPLES) for split, classes in SPLIT_SIZES.items()}
        return shortfalls(self.name, splits, run)

    def inventory(self, run: RunSettings) -> Inventory:
        """What is there, always: nothing is read from files."""
        splits = {split: Split(classes, SAMPLES) for split, classes in SPLIT_SIZES.items()}
        return Inventory(
            sources=[],
            counts={split: [SAMPLES] * classes for split, classes in SPLIT_SIZES.items()},
            expected=splits,
            problems=[],
        )

    def load(
        self, run: RunSettings, device: torch.device, binding: Binding = UNBOUND
    ) -> ImageTasks:
        """The tasks, ink 1 on 0; the pictures are drawn once and then come from the cache."""
        refuse_new(self.name, binding)
        images, checksum = cached_images(
            Path(run.cache_dir),
            "glyphs",
            key=f"version {CACHE_VERSION}, matplotlib {version('matplotlib')}, "
            f"pillow {version('pillow')}",
            shape=(len(CHARACTERS), SAMPLES, 1, SIZE, SIZE),
            pieces=lambda: enumerate(rendered(CHARACTERS, SAMPLES)),
        )
        pools = {
            split: image_pool(images[classes], device, "none", [CHARACTERS[c] for c in classes])
            for split, classes in split_classes().items()
        }
        form = self.picture_form()
        return ImageTasks(
            pools,
            run,
            scale=form.scale,
            shift=form.shift,
            checksum=checksum,
            record=record_of_images(
                cache_dir=Path(run.cache_dir),
                name="glyphs",
                images=images,
                checksum=checksum,
                labels=CHARACTERS,
                splits=split_classes(),
            ),
        )

    def picture_form(self, values: ValueRange | None = None) -> PictureForm:
        """How a network sees pictures: as characters, which are dark on white outside."""
        recipe = Recipe(size=SIZE, channels=1, fit="stretch")
        return PictureForm(
            shape=recipe.shape,
            decode=lambda image, values: 255 - recipe(image, values),
            scale=[1 / 255],
            shift=[0.0],
            values=values,
        )
