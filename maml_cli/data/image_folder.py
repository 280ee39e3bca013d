"""Anybody's own pictures, a folder for each class."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.errors import DataError
from maml_cli.core.settings import STRICT, RunSettings
from maml_cli.data.files import FolderFiles
from maml_cli.data.images import ImageTasks
from maml_cli.data.inventory import Inventory
from maml_cli.data.picture_tasks import (
    Splits,
    counts,
    picture_tasks,
    refuse_shared,
    refuse_shortfalls,
)
from maml_cli.data.pictures import (
    Fit,
    Picture,
    PictureClass,
    PictureForm,
    Recipe,
    is_picture,
    standardised,
)
from maml_cli.data.sampler import SPLITS

HELP = (
    "A data set of your own is a folder with train/CLASS/IMAGE, val/CLASS/IMAGE and "
    "test/CLASS/IMAGE, or with CLASS/IMAGE."
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageFolder:
    """`train|val|test/CLASS/IMAGE`, or `CLASS/IMAGE`, which is split by class at random.

    Classes may have different numbers of pictures: they are drawn alike, and so are the pictures of
    each.
    """

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    path: Annotated[str, Field(min_length=1, description="the folder, from the current one")]
    image_size: Annotated[int, Field(ge=16, le=512, description="pixels, width and height")]
    channels: Annotated[Literal[1, 3], Field(description="1 is grey, 3 is RGB")]
    fit: Annotated[
        Fit, Field(description="what is not square: its middle (crop), or all of it (stretch)")
    ]
    mean: Annotated[float, Field(description="of colours (0 to 1), taken off")]
    std: Annotated[float, Field(gt=0, description="of colours, which divides")]
    val_fraction: Annotated[
        float, Field(gt=0, lt=1, description="of the classes, if they are not split by folders")
    ]
    test_fraction: Annotated[
        float, Field(gt=0, lt=1, description="of the classes, if they are not split by folders")
    ]
    split_seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="of the split by fractions")]

    def check(self, run: RunSettings) -> list[str]:
        """What cannot be; how many pictures there are is known only once they are looked at."""
        if self.val_fraction + self.test_fraction < 1:
            return []
        return [
            f"dataset.val_fraction={self.val_fraction} and dataset.test_fraction="
            f"{self.test_fraction} leave no class for training: lower them to less than 1 together."
        ]

    def inventory(self, run: RunSettings) -> Inventory:
        """What is there; raises DataError if nothing is, or it is not readable."""
        return Inventory(
            sources=[Path(self.path)], counts=counts(self._splits()), expected={}, problems=[]
        )

    def load(self, run: RunSettings, device: torch.device) -> ImageTasks:
        """The tasks; raises DataError, or UsageError if there are too few classes or pictures."""
        splits = self._splits()
        refuse_shortfalls(self.name, splits, run)
        return picture_tasks(
            splits,
            run,
            device,
            cache_name="image_folder",
            recipe=self._recipe(),
            mean=[self.mean],
            std=[self.std],
        )

    def picture_form(self) -> PictureForm:
        """How a network sees pictures: as the settings say."""
        return standardised(self._recipe(), [self.mean], [self.std])

    def _recipe(self) -> Recipe:
        return Recipe(size=self.image_size, channels=self.channels, fit=self.fit)

    def _splits(self) -> Splits:
        folder = Path(self.path)
        if not folder.is_dir():
            raise DataError(f"dataset.path={self.path}: no such folder. {HELP}")
        files = FolderFiles(folder.resolve())
        pictures = [Picture(files, name) for name in files.names if is_picture(name)]
        inside = {picture.name.split("/")[1] for picture in pictures if picture.name.count("/") > 1}
        given = [split for split in SPLITS if split in inside]
        if not inside:
            raise DataError(f"dataset.path={self.path}: no folder in it holds pictures. {HELP}")
        if not given:
            return self._split_by_seed(classes_in(pictures, depth=1))
        if missing := [split for split in SPLITS if split not in given]:
            raise DataError(
                f"dataset.path={self.path}: there is {' and '.join(given)}, but no "
                f"{' and no '.join(missing)}. {HELP}"
            )
        splits = {
            split: classes_in([p for p in pictures if p.name.split("/")[1] == split], depth=2)
            for split in SPLITS
        }
        refuse_shared(splits)
        return splits

    def _split_by_seed(self, classes: list[PictureClass]) -> Splits:
        """The classes in an order drawn by the seed: first test, then val, the rest is train."""
        order = np.random.RandomState(self.split_seed).permutation(len(classes))
        tests = round(self.test_fraction * len(classes))
        vals = round(self.val_fraction * len(classes))
        parts: Mapping[str, np.ndarray] = {
            "train": order[tests + vals :],
            "val": order[tests : tests + vals],
            "test": order[:tests],
        }
        return {split: [classes[i] for i in sorted(part)] for split, part in parts.items()}


def classes_in(pictures: list[Picture], depth: int) -> list[PictureClass]:
    """The pictures by the folder that many levels below the top, whatever lies between."""
    by_label = defaultdict(list)
    for picture in pictures:
        parts = picture.name.split("/")
        if len(parts) > depth + 1:
            by_label[parts[depth]].append(picture)
    return [PictureClass(label, by_label[label]) for label in sorted(by_label)]
