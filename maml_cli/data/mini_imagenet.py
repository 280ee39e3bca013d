"""Mini-ImageNet: 600 images of each of 100 classes (Vinyals et al. 2016).

Classes are split 64/16/20 as by Ravi and Larochelle (2017).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.errors import DataError
from maml_cli.core.settings import STRICT, RunSettings
from maml_cli.core.types import Split
from maml_cli.data.augment import Augment
from maml_cli.data.images import ImageTasks, shortfalls
from maml_cli.data.inventory import Inventory
from maml_cli.data.mini_imagenet_files import Found, find_folder, find_pictures
from maml_cli.data.picture_tasks import counts, picture_tasks, refuse_shared, refuse_shortfalls
from maml_cli.data.pictures import PictureForm, Recipe, standardised
from maml_cli.data.pixel_values import ValueRange
from maml_cli.data.record import UNBOUND, Binding, refuse_new

IMAGES = 600
STANDARD = {"train": Split(64, IMAGES), "val": Split(16, IMAGES), "test": Split(20, IMAGES)}
LICENCE = (
    "Mini-ImageNet's images come from ImageNet: for non-commercial research and education only, "
    "under the ImageNet terms of access."
)
HELP = "docs/data.md says where it comes from and how it may lie there; it is never downloaded."


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MiniImageNet:
    """Colour images of 100 classes: 64 for training, 16 for validation and 20 for the test."""

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    image_size: Annotated[int, Field(ge=16, le=224, description="pixels; the images have 84")]
    mean: Annotated[
        tuple[float, float, float], Field(description="of red, green and blue (0 to 1), taken off")
    ]
    std: Annotated[
        tuple[
            Annotated[float, Field(gt=0)],
            Annotated[float, Field(gt=0)],
            Annotated[float, Field(gt=0)],
        ],
        Field(description="of red, green and blue, which divides"),
    ]
    augment: Augment
    allow_incomplete: Annotated[
        bool, Field(description="use a set that lacks images, and mark its results")
    ]

    def check(self, run: RunSettings) -> list[str]:
        """What these run settings ask for that the complete data set does not have."""
        return shortfalls(self.name, STANDARD, run)

    def inventory(self, run: RunSettings) -> Inventory:
        """What is there; raises DataError if nothing is, or it is not readable."""
        found = self._find(run)
        missing, surplus = deviations(counts(found.splits))
        return Inventory(
            sources=found.sources,
            counts=counts(found.splits),
            expected=STANDARD,
            problems=missing + surplus,
            notes=[*found.passed, *(m for error in found.damaged for m in error.messages)],
        )

    def load(
        self, run: RunSettings, device: torch.device, binding: Binding = UNBOUND
    ) -> ImageTasks:
        """The tasks; raises DataError if images are missing, damaged or too many."""
        refuse_new(self.name, binding)
        found = self._find(run)
        missing, surplus = deviations(counts(found.splits))
        where = self._folder(run)
        if surplus:
            raise DataError(
                *surplus,
                f"{where} holds more than Mini-ImageNet: take away what does not belong there, or "
                "use dataset=image_folder for classes of your own.",
            )
        if missing and not self.allow_incomplete:
            raise DataError(
                *missing,
                f"Mini-ImageNet in {where} is incomplete: add what is missing, or set "
                "dataset.allow_incomplete=true, which marks the results.",
            )
        refuse_shared(found.splits)
        refuse_shortfalls(self.name, found.splits, run)
        return picture_tasks(
            found.splits,
            run,
            device,
            cache_name="mini_imagenet",
            recipe=self._recipe(),
            mean=self.mean,
            std=self.std,
            augment=self.augment,
            binding=binding,
            notice=LICENCE,
            remarks=(f"incomplete Mini-ImageNet: {', '.join(missing)}",) if missing else (),
        )

    def picture_form(self, values: ValueRange | None = None) -> PictureForm:
        """How a network sees pictures: in colour, the whole picture squeezed into the square."""
        return standardised(self._recipe(), self.mean, self.std, values)

    def _recipe(self) -> Recipe:
        return Recipe(size=self.image_size, channels=3, fit="stretch")

    def _find(self, run: RunSettings) -> Found:
        found = find_pictures(self._folder(run))
        missing, _ = deviations(counts(found.splits))
        if found.damaged and missing:
            raise DataError(*(message for e in found.damaged for message in e.messages))
        empty = [split for split, classes in found.splits.items() if not classes]
        if empty:
            raise DataError(
                f"{self._folder(run)} has no images for {' and '.join(empty)}.",
                *found.passed,
                f"Mini-ImageNet needs train, val and test. {HELP}",
            )
        return found

    @staticmethod
    def _folder(run: RunSettings) -> Path:
        data_dir = Path(run.data_dir)
        folder = find_folder(data_dir)
        if folder is None:
            raise DataError(
                f"Mini-ImageNet: {data_dir.absolute()} has no folder mini-imagenet.",
                f"Set data_dir (or MAML_DATA_DIR) to the folder that holds it. {HELP}",
            )
        return folder


def deviations(found: Mapping[str, Sequence[int]]) -> tuple[list[str], list[str]]:
    """What is missing of the standard split and what is surplus, one phrase each."""
    missing: list[str] = []
    surplus: list[str] = []
    for split, standard in STANDARD.items():
        numbers = found[split]
        if len(numbers) != standard.classes:
            side = missing if len(numbers) < standard.classes else surplus
            side.append(f"{len(numbers)} of {standard.classes} classes in {split}")
        low, high = min(numbers, default=0), max(numbers, default=0)
        if low < standard.images_per_class:
            amount = str(low) if low == high else f"{low} to {high}"
            missing.append(f"{amount} of {IMAGES} images per class in {split}")
        if high > standard.images_per_class:
            surplus.append(f"up to {high} of {IMAGES} images per class in {split}")
    return missing, surplus
