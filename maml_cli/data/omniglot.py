"""Omniglot: 1,623 handwritten characters, each drawn by 20 people (Lake et al. 2015)."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.errors import DataError
from maml_cli.core.settings import STRICT, RunSettings
from maml_cli.core.types import Split
from maml_cli.data.cache import Cached, cached_images
from maml_cli.data.content import content_digest
from maml_cli.data.files import Files, location
from maml_cli.data.images import QUARTER_TURNS, ImageTasks, Rotations, image_pool, shortfalls
from maml_cli.data.inventory import Inventory
from maml_cli.data.omniglot_alphabets import ALPHABETS
from maml_cli.data.omniglot_files import (
    DRAWINGS,
    HOME,
    Character,
    as_drawing,
    characters,
    decoded,
    download_parts,
    find_parts,
    found_in,
)
from maml_cli.data.pictures import Picture, PictureForm
from maml_cli.data.pixel_values import ValueRange
from maml_cli.data.record import UNBOUND, Binding, record_of_images, refuse_new

SPLIT_SIZES = {"train": 1150, "val": 50, "test": 423}
SPLIT_SEED = 985773
CACHE_VERSION = 2


def split_classes() -> dict[str, NDArray[np.int64]]:
    """The classes of each split, as places in the sorted labels: the official MAML++ code's.

    Its sizes are `int(0.70918052988 * 1623)`, `int(0.03080714725 * 1623)` and the rest; its seed
    is `RandomState(0).randint(1, 999999)`.
    """
    order = np.arange(sum(SPLIT_SIZES.values()))
    np.random.RandomState(SPLIT_SEED).shuffle(order)
    first, second = SPLIT_SIZES["train"], SPLIT_SIZES["train"] + SPLIT_SIZES["val"]
    return dict(zip(SPLIT_SIZES, np.split(order, [first, second]), strict=True))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Omniglot:
    """The characters in the split of the official MAML++ code: 1150 for training, 50 and 423."""

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    image_size: Annotated[int, Field(ge=16, le=105, description="pixels; the drawings have 105")]
    rotations: Annotated[
        Rotations,
        Field(
            description="of training classes: by a quarter turn drawn per episode, "
            "turned characters as classes of their own, or none"
        ),
    ]
    rotate_test: Annotated[bool, Field(description="rotations in validation and test, too")]
    invert: Annotated[bool, Field(description="true: strokes 1 on 0; false: strokes 0 on 1")]

    def check(self, run: RunSettings) -> list[str]:
        """What these run settings ask for that Omniglot does not have; touches no data."""
        splits = {
            split: Split(
                classes * (QUARTER_TURNS if self._rotations_in(split) == "classes" else 1),
                DRAWINGS,
            )
            for split, classes in SPLIT_SIZES.items()
        }
        return shortfalls(self.name, splits, run)

    def load(
        self, run: RunSettings, device: torch.device, binding: Binding = UNBOUND
    ) -> ImageTasks:
        """The tasks; raises DataError if drawings are missing, damaged or too many."""
        refuse_new(self.name, binding)
        parts = self._parts(_root(run), run.download)
        images, checksum = self._images(parts, Path(run.cache_dir))
        known = characters(parts)
        pools = {
            split: image_pool(
                images[classes],
                device,
                self._rotations_in(split),
                [known[c].label for c in classes],
                partial(_drawing, [known[c] for c in classes]),
            )
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
                name="omniglot",
                images=images,
                checksum=checksum,
                labels=[character.label for character in known],
                splits=split_classes(),
            ),
        )

    def picture_form(self, values: ValueRange | None = None) -> PictureForm:
        """How a network sees pictures: as drawings, of dark strokes on white."""
        return PictureForm(
            shape=(1, self.image_size, self.image_size),
            decode=lambda image, values: as_drawing(image, self.image_size, values),
            scale=[(-1 if self.invert else 1) / 255],
            shift=[float(self.invert)],
            values=values,
        )

    def inventory(self, run: RunSettings) -> Inventory:
        """What is there; raises DataError if drawings are missing or too many."""
        parts = self._parts(_root(run), run.download)
        numbers = [len(character.drawings) for character in characters(parts)]
        return Inventory(
            sources=[files.path for files in parts.values()],
            counts={split: [numbers[c] for c in cs] for split, cs in split_classes().items()},
            expected={split: Split(size, DRAWINGS) for split, size in SPLIT_SIZES.items()},
            problems=[],
        )

    def _rotations_in(self, split: str) -> Rotations:
        return self.rotations if split == "train" or self.rotate_test else "none"

    @staticmethod
    def _parts(root: Path, download: bool) -> dict[str, Files]:
        parts = find_parts(root)
        missing = [part for part in ALPHABETS if part not in parts]
        if missing and download:
            download_parts(root, missing)
            return find_parts(root)
        if missing:
            raise DataError(
                f"Omniglot: {root.absolute()} has no {' and no '.join(missing)}, as folder or .zip "
                f"({found_in(root)})",
                "Read are these two, also in omniglot-py/ or python/, or a tree of all alphabets "
                "(ALPHABET/CHARACTER/IMAGE) with drawings of 105 x 105 pixels; arrays "
                "(.npz, .mat) and resized drawings are not read.",
                "Set data_dir (or MAML_DATA_DIR) to the folder that holds omniglot/, or set "
                f"download=true, or get the archives from {HOME}.",
            )
        return parts

    def _images(self, parts: Mapping[str, Files], cache: Path) -> Cached:
        """All characters sorted by label: `(1623, 20, 1, image_size, image_size)`."""
        classes = characters(parts)
        drawn = [Picture(c.files, name) for c in classes for name in c.drawings]
        content = content_digest(drawn, cache)
        return cached_images(
            cache,
            "omniglot",
            key=f"version {CACHE_VERSION}, size {self.image_size}, of {content}",
            shape=(len(classes), DRAWINGS, 1, self.image_size, self.image_size),
            pieces=lambda: enumerate(decoded(classes, self.image_size)),
        )


def _drawing(classes: Sequence[Character], number: int, drawing: int) -> str:
    return location(classes[number].files, classes[number].drawings[drawing])


def _root(run: RunSettings) -> Path:
    """The folder of Omniglot: data_dir/omniglot, or data_dir itself as torchvision's root."""
    root = Path(run.data_dir, "omniglot")
    return Path(run.data_dir) if not root.is_dir() and find_parts(Path(run.data_dir)) else root
