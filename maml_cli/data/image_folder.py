"""Anybody's own pictures, a folder for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.errors import DataError
from maml_cli.core.settings import STRICT, RunSettings
from maml_cli.data.augment import Augment
from maml_cli.data.cache import remember, remembered
from maml_cli.data.class_splits import (
    bound_splits,
    refuse_too_few_classes,
    refuse_too_few_pictures,
    split_by_seed,
    without_small,
)
from maml_cli.data.files import Files, digest
from maml_cli.data.images import ImageTasks, shortfalls
from maml_cli.data.inventory import Inventory
from maml_cli.data.layouts import Layout, layout_of, sources_in
from maml_cli.data.picture_tasks import Splits, counts, picture_tasks, refuse_shared
from maml_cli.data.pictures import Broken, Fit, PictureClass, PictureForm, Recipe, standardised
from maml_cli.data.pixel_values import ValueRange
from maml_cli.data.record import CLASSES, UNBOUND, Binding, some
from maml_cli.data.sampler import SPLITS

HELP = (
    "A data set of your own is a folder with train/CLASS/IMAGE, val/CLASS/IMAGE and "
    "test/CLASS/IMAGE, or with CLASS/IMAGE."
)


Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageFolder:
    """`train|val|test/CLASS/IMAGE`, or `CLASS/IMAGE`, which is split by class at random.

    Classes may have different numbers of pictures: they are drawn alike, and so are the pictures of
    each. `data/layouts.py` says which other trees are recognised.
    """

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    path: Annotated[str, Field(min_length=1, description="the folder or archive")]
    image_size: Annotated[int, Field(ge=16, le=512, description="pixels, width and height")]
    channels: Annotated[Literal[1, 3], Field(description="1 is grey, 3 is RGB")]
    fit: Annotated[
        Fit, Field(description="what is not square: its middle (crop), or all of it (stretch)")
    ]
    range: Annotated[
        tuple[float, float] | None,
        Field(description="values that become black and white; null: 0 and 255, or as found"),
    ]
    mean: Annotated[
        float | tuple[float, ...],
        Field(description="of colours (0 to 1), taken off; a list: of each channel"),
    ]
    std: Annotated[
        Positive | tuple[Positive, ...],
        Field(description="of colours, which divides; a list: of each channel"),
    ]
    augment: Augment
    class_depth: Annotated[
        Literal[1, 2] | None,
        Field(description="of two levels of folders, which are classes: outer (1), inner (2)"),
    ]
    min_images: Annotated[
        int, Field(ge=1, description="classes with fewer pictures are left out, with a remark")
    ]
    skip_broken: Annotated[
        bool, Field(description="pictures that cannot be read are left out, with a remark")
    ]
    val_fraction: Annotated[
        float, Field(gt=0, lt=1, description="of the classes, if they are not split by folders")
    ]
    test_fraction: Annotated[
        float, Field(gt=0, lt=1, description="of the classes, if they are not split by folders")
    ]
    split_seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="of the split by fractions")]

    def check(self, run: RunSettings) -> list[str]:
        """What cannot be; how many pictures there are is known only once they are looked at."""
        problems = shortfalls(self.name, {}, run)
        for key, value in (("mean", self.mean), ("std", self.std)):
            given = self._channels(value)
            if len(given) != self.channels:
                numbers = ",".join(f"{number:g}" for number in given)
                problems.append(
                    f"dataset.{key}=[{numbers}]: {len(given)} numbers for "
                    f"dataset.channels={self.channels}: give one number, or one for each channel."
                )
        if self.range is not None and self.range[0] >= self.range[1]:
            problems.append(
                f"dataset.range=[{self.range[0]:g},{self.range[1]:g}]: the first value becomes "
                "black and the second white, so the first must be the smaller one."
            )
        if self.val_fraction + self.test_fraction >= 1:
            problems.append(
                f"dataset.val_fraction={self.val_fraction} and dataset.test_fraction="
                f"{self.test_fraction} leave no class for training: lower them to less than 1 "
                "together."
            )
        return problems

    def inventory(self, run: RunSettings) -> Inventory:
        """What is there; raises DataError if nothing is, or it is not readable."""
        sources = self._sources()
        layout = self._layout(sources, run)
        splits, remarks = self._split(layout, UNBOUND)
        return Inventory(
            sources=[files.path for files in sources],
            counts=counts(splits),
            expected={},
            problems=[],
            notes=[*layout.said, *remarks],
        )

    def load(
        self, run: RunSettings, device: torch.device, binding: Binding = UNBOUND
    ) -> ImageTasks:
        """The tasks; raises DataError, or UsageError if there are too few classes or pictures."""
        sources = self._sources()
        layout = self._layout(sources, run)
        splits, remarks = self._split(layout, binding)
        splits = without_small(self.name, splits, run, binding.split)
        refuse_shared(splits)
        refuse_too_few_pictures(splits, run)
        refuse_too_few_classes(self.name, splits, run, drawn=not layout.splits)
        try:
            return picture_tasks(
                splits,
                run,
                device,
                cache_name="image_folder",
                recipe=self._recipe(),
                mean=self._channels(self.mean),
                std=self._channels(self.std),
                augment=self.augment,
                values=self._values(),
                binding=binding,
                notice="\n".join(layout.said),
                remarks=tuple(remarks),
            )
        except Broken as broken:
            if not self.skip_broken:
                raise DataError(
                    *broken.messages, "Or set dataset.skip_broken=true, which leaves them out."
                ) from None
            names = [[str(p.files.path), p.name] for p in broken.pictures]
            known = self._broken(sources, run)
            remember(Path(run.cache_dir), "image_folder", _broken_key(sources), known + names)
        return self.load(run, device, binding)

    def picture_form(self, values: ValueRange | None = None) -> PictureForm:
        """How a network sees pictures: as the settings say."""
        mean, std = self._channels(self.mean), self._channels(self.std)
        return standardised(self._recipe(), mean, std, self._values() or values)

    def _channels(self, value: float | tuple[float, ...]) -> tuple[float, ...]:
        return value if isinstance(value, tuple) else (value,) * self.channels

    def _recipe(self) -> Recipe:
        return Recipe(size=self.image_size, channels=self.channels, fit=self.fit)

    def _values(self) -> ValueRange | None:
        return None if self.range is None else ValueRange(*self.range, every=True)

    def _sources(self) -> list[Files]:
        path = Path(self.path)
        if not path.exists():
            raise DataError(f"dataset.path={self.path}: no such folder. {HELP}")
        return sources_in(path.resolve())

    def _layout(self, sources: Sequence[Files], run: RunSettings) -> Layout:
        broken = {tuple(name) for name in self._broken(sources, run)} if self.skip_broken else set()
        layout = layout_of(sources, self.class_depth, without=broken)
        if not layout.splits and not layout.classes:
            said = "; ".join(layout.said)
            raise DataError(
                f"dataset.path={self.path}: no folder in it holds pictures"
                f"{f' ({said})' if said else ''}. {HELP}"
            )
        if not broken:
            return layout
        return layout.remarked(f"{len(broken)} broken pictures are left out")

    @staticmethod
    def _broken(sources: Sequence[Files], run: RunSettings) -> list[list[str]]:
        """Pictures of these very files that could not be read, found in decoding them before."""
        found = remembered(Path(run.cache_dir), "image_folder", _broken_key(sources))
        return found if isinstance(found, list) else []

    def _split(self, layout: Layout, binding: Binding) -> tuple[Splits, list[str]]:
        """The classes of each split that is needed, and remarks."""
        remarks = list(layout.guesses)
        splits, classes = layout.splits, layout.classes
        if self.min_images > 1:
            small = [
                c.label
                for part in (*splits.values(), classes)
                for c in part
                if len(c.pictures) < self.min_images
            ]
            splits = {split: self._large(part) for split, part in splits.items()}
            classes = self._large(classes)
            if small:
                remarks.append(
                    f"left out: {CLASSES.amount(len(small))} with fewer than {self.min_images} "
                    f"pictures: {some(small)}"
                )
        if binding.record is not None or binding.split is not None:
            return bound_splits(self.path, splits, classes, binding, remarks), remarks
        if not splits:
            return split_by_seed(
                classes,
                val=self.val_fraction,
                test=self.test_fraction,
                seed=self.split_seed,
            ), remarks
        if missing := [split for split in SPLITS if split not in splits]:
            raise DataError(
                f"dataset.path={self.path}: there is {' and '.join(splits)}, but no "
                f"{' and no '.join(missing)}: make the folder and move some classes there. {HELP} "
                "maml-eval needs only the split that it tests."
            )
        return splits, remarks

    def _large(self, classes: Sequence[PictureClass]) -> list[PictureClass]:
        return [c for c in classes if len(c.pictures) >= self.min_images]


def _broken_key(sources: Sequence[Files]) -> str:
    return f"broken pictures of {digest((files.fingerprint,) for files in sources)}"
