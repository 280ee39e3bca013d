"""What is there of a data set in files, before it is decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Split, TaskSource
from maml_cli.data.images import ImageTasks
from maml_cli.data.pictures import PictureForm
from maml_cli.data.pixel_values import ValueRange
from maml_cli.data.record import UNBOUND, Binding


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Where the images are, how many there are, and what is not as it should be."""

    sources: Sequence[Path]
    """Folders and files; empty if the program draws the images itself."""
    counts: Mapping[str, Sequence[int]]
    """For each split, the number of images of each class, or of points of each task."""
    expected: Mapping[str, Split]
    """What the complete data set has; empty if nobody has laid that down."""
    problems: Sequence[str]
    """What is missing or surplus, one phrase each."""
    notes: Sequence[str] = ()
    """What was taken for what, and what was left out."""
    titles: tuple[str, str, str] = ("classes", "images per class", "images")
    """Of the numbers in a table."""


@runtime_checkable
class FileDataset(Protocol):
    """A data set in files: it can be looked at, and its tests are of a run's own split."""

    name: str

    def inventory(self, run: RunSettings) -> Inventory:
        """What is there; decodes nothing. Raises DataError if nothing is, or it is not readable."""
        ...

    def load(
        self, run: RunSettings, device: torch.device, binding: Binding = UNBOUND
    ) -> TaskSource:
        """The episodes, as the run needs them that is bound."""
        ...


@runtime_checkable
class ImageDataset(FileDataset, Protocol):
    """A data set of images."""

    def picture_form(self, values: ValueRange | None = None) -> PictureForm:
        """How a network sees pictures; also those that somebody brings when it is trained.

        `values` is the range that pictures of more than eight bits had in training.
        """
        ...

    def load(
        self, run: RunSettings, device: torch.device, binding: Binding = UNBOUND
    ) -> ImageTasks:
        """The images, from the cache or decoded into it, as the run needs them that is bound."""
        ...
