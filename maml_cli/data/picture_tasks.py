"""From classes of pictures to episodes, by way of the cache."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Split
from maml_cli.data.cache import Pieces, cached_images
from maml_cli.data.content import content_digest
from maml_cli.data.images import ImagePool, ImageTasks, consecutive, shortfalls
from maml_cli.data.pictures import PictureClass, Recipe, decoded, standardised
from maml_cli.data.progress import say
from maml_cli.data.sampler import Classes

CACHE_VERSION = 2

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
        raise DataError(*shared, "Each class must be in one split only.")


def picture_tasks(
    splits: Splits,
    run: RunSettings,
    device: torch.device,
    *,
    cache_name: str,
    recipe: Recipe,
    mean: Sequence[float],
    std: Sequence[float],
    notice: str = "",
    remarks: tuple[str, ...] = (),
) -> ImageTasks:
    """Episodes of pictures, whose colours c (0 to 1) become `(c - mean) / std`, per channel.

    The pictures are decoded once, whatever split their classes are in; `notice` is said then.
    Raises DataError, UsageError or StorageError.
    """
    classes = sorted(chain.from_iterable(splits.values()), key=lambda c: c.label)
    pictures = list(chain.from_iterable(c.pictures for c in classes))
    content = content_digest(pictures, Path(run.cache_dir))

    def pieces() -> Pieces:
        if notice:
            say(notice)
        return decoded(pictures, recipe, cache_name)

    images, checksum = cached_images(
        Path(run.cache_dir),
        cache_name,
        key=f"version {CACHE_VERSION}, {recipe}, of {content}",
        shape=(len(pictures), *recipe.shape),
        pieces=pieces,
    )
    tensor = torch.from_numpy(images).to(device)
    numbers = np.array([len(c.pictures) for c in classes], np.int64)
    places = dict(zip((c.label for c in classes), consecutive(numbers).starts, strict=True))
    pools = {
        split: ImagePool(
            images=tensor,
            classes=Classes(
                np.array([places[c.label] for c in members], np.int64),
                np.array([len(c.pictures) for c in members], np.int64),
            ),
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
        remarks=remarks,
    )
