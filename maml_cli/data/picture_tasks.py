"""From classes of pictures to episodes, by way of the cache."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Split
from maml_cli.data.augment import Augmentation, Change
from maml_cli.data.cache import Cached, Pieces, cached_images, remember, remembered
from maml_cli.data.content import content_digest
from maml_cli.data.faults import SHOWN
from maml_cli.data.files import location
from maml_cli.data.images import ImagePool, ImageTasks, consecutive, shortfalls
from maml_cli.data.pictures import (
    Picture,
    PictureClass,
    Recipe,
    decoded,
    standardised,
    surveyed,
)
from maml_cli.data.pixel_values import RangeUnknown, Survey, ValueRange
from maml_cli.data.progress import say
from maml_cli.data.record import UNBOUND, Binding, DataRecord, facts_of
from maml_cli.data.sampler import Classes

CACHE_VERSION = 2
NARROW = 32
"""Training pictures with fewer grey levels than this look black or white all over."""

Splits = Mapping[str, Sequence[PictureClass]]


def counts(splits: Splits) -> dict[str, list[int]]:
    """For each split, the number of pictures of each class."""
    return {split: [len(c.pictures) for c in classes] for split, classes in splits.items()}


def refuse_shortfalls(name: str, splits: Splits, run: RunSettings) -> None:
    """Raise UsageError if an episode needs more classes, or pictures of one, than there are."""
    capacity = {
        split: Split(len(numbers), min(numbers, default=0))
        for split, numbers in counts(splits).items()
    }
    if problems := shortfalls(name, capacity, run):
        raise UsageError(*problems)


def refuse_shared(splits: Splits) -> None:
    """Raise DataError if a class is in two splits: a test is of classes not seen in training."""
    homes: dict[str, str] = {}
    shared = [
        f"class {c.label} is in {homes[c.label]} and in {split}"
        for split, classes in splits.items()
        for c in classes
        if homes.setdefault(c.label, split) != split
    ]
    if shared:
        raise DataError(
            *shared[:SHOWN],
            *([f"... and {len(shared) - SHOWN} more"] if len(shared) > SHOWN else []),
            "Each class must be in one split only: the test needs classes that training has not "
            "seen. Put all pictures of a class into one folder, and let the program split the "
            "classes: DIR/CLASS/IMAGE without folders for the splits.",
        )


def picture_tasks(
    splits: Splits,
    run: RunSettings,
    device: torch.device,
    *,
    cache_name: str,
    recipe: Recipe,
    mean: Sequence[float],
    std: Sequence[float],
    augment: Sequence[Change] | None,
    values: ValueRange | None = None,
    binding: Binding = UNBOUND,
    notice: str = "",
    remarks: tuple[str, ...] = (),
) -> ImageTasks:
    """Episodes of pictures, whose colours c (0 to 1) become `(c - mean) / std`, per channel.

    Those of training are changed as `augment` says.

    The pictures are decoded once, whatever split their classes are in; `notice` is said then.
    `values` become black and white; None: as in the training that `binding` tells of, else as found
    in the training split. Raises DataError, UsageError or StorageError.
    """
    classes = sorted(chain.from_iterable(splits.values()), key=lambda c: c.label)
    pictures = list(chain.from_iterable(c.pictures for c in classes))
    cache_dir, trained = Path(run.cache_dir), binding.record
    known = trained.values if trained else None
    (images, checksum), found, said = _decoded(
        pictures,
        recipe,
        training=[p for c in splits.get("train", classes) for p in c.pictures],
        values=values or known,
        cache_dir=cache_dir,
        name=cache_name,
        notice=notice,
        new=trained is None,
    )
    if known is not None and values is None:
        said = f"{known} become black and white in pictures of more than eight bits, as in training"
    tensor = torch.from_numpy(images).to(device)
    numbers = np.array([len(c.pictures) for c in classes], np.int64)
    starts = consecutive(numbers).starts
    places = dict(zip((c.label for c in classes), starts, strict=True))
    facts = facts_of(cache_dir, cache_name, checksum, np.split(images, starts[1:]))
    by_label = dict(zip((c.label for c in classes), facts, strict=True))
    pools = {
        split: ImagePool(
            images=tensor,
            classes=Classes(
                np.array([places[c.label] for c in members], np.int64),
                np.array([len(c.pictures) for c in members], np.int64),
            ),
            labels=[c.label for c in members],
            file=lambda row: location(*pictures[row]),
        )
        for split, members in splits.items()
    }
    form = standardised(recipe, mean, std)
    return ImageTasks(
        pools,
        run,
        scale=form.scale,
        shift=form.shift,
        checksum=checksum,
        record=DataRecord(
            checksum=checksum,
            train_classes=trained.train_classes if trained else len(splits.get("train", ())),
            splits={
                split: {c.label: by_label[c.label] for c in members}
                for split, members in splits.items()
            },
            values=found,
        ),
        remarks=(*remarks, *filter(None, [said])),
        augmentation=Augmentation(augment, recipe.size) if augment else None,
    )


def _decoded(
    pictures: Sequence[Picture],
    recipe: Recipe,
    *,
    training: Sequence[Picture],
    values: ValueRange | None,
    cache_dir: Path,
    name: str,
    notice: str,
    new: bool,
) -> tuple[Cached, ValueRange | None, str]:
    """The pictures from the cache, the range of their values if they need one, and what it is.

    Most pictures have eight bits and need none: it is looked for once, when a picture needs it.
    """
    content = content_digest(pictures, cache_dir)

    def cached(values: ValueRange | None) -> Cached:
        def pieces() -> Pieces:
            if notice:
                say(notice)
            return decoded(pictures, recipe, values, name)

        scaled = f", {tuple(values)} become 0 to 255" if values else ""
        return cached_images(
            cache_dir,
            name,
            key=f"version {CACHE_VERSION}, {recipe}, of {content}{scaled}",
            shape=(len(pictures), *recipe.shape),
            pieces=pieces,
        )

    if values is not None:
        return cached(values), values, ""
    key = f"values of {content_digest(training, cache_dir)}"
    numbers = remembered(cache_dir, name, key)
    survey = Survey(*numbers) if isinstance(numbers, list) else None
    if survey is None:
        try:
            images = cached(None)
        except RangeUnknown:
            survey = surveyed(training) or surveyed(pictures)
        else:
            return images, None, _narrow(images, cache_dir, name) if new else ""
        if survey is None:
            raise DataError(
                "The range of the pictures' values cannot be found: set dataset.range=[LOW,HIGH]."
            )
        remember(cache_dir, name, key, list(survey))
    return cached(survey.range), survey.range, survey.said("the training split")


def _narrow(images: Cached, cache_dir: Path, name: str) -> str:
    """A remark on pictures of eight bits that use few of them, such as numbers of regions."""
    key = f"extremes of {images.checksum}"
    extremes = remembered(cache_dir, name, key)
    if not isinstance(extremes, list):
        extremes = [int(images.images.min()), int(images.images.max())]
        remember(cache_dir, name, key, extremes)
    low, high = extremes
    if not 0 < high - low < NARROW:
        return ""
    return (
        f"the pictures use the values {low} to {high} of 0 to 255 only: "
        f"dataset.range=[{low},{high}] makes them black and white"
    )
