"""What a run was trained on: the classes of each split by name, and a digest of their pictures.

A run keeps it in `data.json`. Resumes and tests take the run's own split from there, and say what
has changed since.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from maml_cli.core.errors import CheckpointError, DataError, UsageError
from maml_cli.core.limits import RESULTS_BYTES
from maml_cli.core.plain_text import printable
from maml_cli.core.regular_files import read_text
from maml_cli.core.types import TaskSource
from maml_cli.data.cache import remember, remembered
from maml_cli.data.columns import Columns
from maml_cli.data.pixel_values import ValueRange
from maml_cli.data.sampler import SPLITS

SHOWN = 5
EPISODES = 8
"""So many episodes of each split stand for data that have no record of their own."""


class Nouns(NamedTuple):
    """What the members of a split are called, and their parts."""

    one: str
    many: str
    parts: str

    def amount(self, number: int) -> str:
        """`1 class`, `2 classes`."""
        return f"1 {self.one}" if number == 1 else f"{number} {self.many}"


CLASSES = Nouns("class", "classes", "pictures")
TASKS = Nouns("task", "tasks", "points")


class ClassFacts(NamedTuple):
    """One class: its number of pictures, and a digest of them as decoded.

    Or one task of a regression: its number of points, and a digest of them.
    """

    pictures: NonNegativeInt
    digest: str


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """What the data of a run are."""

    checksum: str
    """Another one as soon as a decoded picture differs."""
    train_classes: PositiveInt
    """Classes in training, or 1 for regression."""
    splits: Mapping[str, Mapping[str, ClassFacts]] = field(default_factory=dict)
    """By split and label; empty for data that are computed."""
    values: ValueRange | None = None
    """Of pictures of more than eight bits a colour, as found in training."""
    columns: Columns | None = None
    """Of a regression from a file, as found in training."""

    @property
    def nouns(self) -> Nouns:
        """What the splits consist of."""
        return CLASSES if self.columns is None else TASKS

    def home(self, label: str) -> str | None:
        """The split that has the class."""
        return next((split for split, classes in self.splits.items() if label in classes), None)

    def to_json(self) -> str:
        """The text of `data.json`."""
        content = {
            "checksum": self.checksum,
            "train_classes": self.train_classes,
            "values": self.values,
            "columns": None if self.columns is None else self.columns._asdict(),
            "splits": self.splits,
        }
        return json.dumps(content, indent=1, ensure_ascii=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "DataRecord":
        """The record in such a text; raises ValueError that names what is not as it must be."""
        try:
            return TypeAdapter(cls).validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "it"
            raise ValueError(f"{printable(place)}: {first['msg']}") from error


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What the data of a run that was begun before must be taken as; nothing for a new run."""

    record: DataRecord | None = None
    """What the run was trained on."""
    split: str | None = None
    """The one split that is needed; None: all."""
    new: bool = False
    """Take the classes that the run does not know for that split."""


UNBOUND = Binding()


def facts_of(
    cache_dir: Path, name: str, checksum: str, classes: Sequence[NDArray[np.uint8]]
) -> list[ClassFacts]:
    """Of each class of images, computed once for a checksum of them all."""
    counts = [len(images) for images in classes]
    key = f"classes of {checksum}, {hashlib.sha256(repr(counts).encode()).hexdigest()}"
    digests = remembered(cache_dir, name, key)
    if not isinstance(digests, list) or len(digests) != len(classes):
        digests = [hashlib.sha256(np.ascontiguousarray(c).data).hexdigest()[:16] for c in classes]
        remember(cache_dir, name, key, digests)
    return [ClassFacts(n, str(digest)) for n, digest in zip(counts, digests, strict=True)]


def record_of_images(
    *,
    cache_dir: Path,
    name: str,
    images: NDArray[np.uint8],
    checksum: str,
    labels: Sequence[str],
    splits: Mapping[str, NDArray[np.int64]],
) -> DataRecord:
    """The record of `(classes, images, channels, height, width)`; a split has some of the rows."""
    facts = facts_of(cache_dir, name, checksum, list(images))
    return DataRecord(
        checksum=checksum,
        train_classes=len(splits["train"]),
        splits={
            split: {str(labels[row]): facts[row] for row in rows} for split, rows in splits.items()
        },
    )


def refuse_new(name: str, binding: Binding) -> None:
    """Raise UsageError where new classes are asked of a data set whose classes are all known."""
    if binding.new:
        raise UsageError(
            f"split=new: {name} has the same classes in every run; new ones are for "
            "dataset=image_folder"
        )


def record_of(source: TaskSource) -> DataRecord:
    """The record of a source: its own, or its checksum, or one of its first episodes."""
    own = getattr(source, "record", None)
    if isinstance(own, DataRecord):
        return own
    checksum = getattr(source, "checksum", None)
    if checksum is None:
        sha256 = hashlib.sha256()
        for split in SPLITS:
            for tensor in source.episodes(split, 0, EPISODES):
                sha256.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        checksum = f"episodes {sha256.hexdigest()}"
    return DataRecord(checksum=str(checksum), train_classes=source.train_classes)


def read_record(path: Path) -> DataRecord | None:
    """What a run keeps of its data; None if it was trained before there were records.

    Raises CheckpointError if the file is damaged.
    """
    try:
        return DataRecord.from_json(read_text(path, RESULTS_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); put back a copy, without which nobody knows which "
            "classes the run was trained on"
        ) from error


def changes(before: DataRecord, now: DataRecord, splits: Sequence[str] = SPLITS) -> list[str]:
    """What of these splits is not as it was, one phrase each; empty where all is the same."""
    if not before.splits or not now.splits:
        return [] if before.checksum == now.checksum else ["the data are not those of the run"]
    phrases, nouns = [], now.nouns
    for split in splits:
        was, is_now = before.splits.get(split, {}), now.splits.get(split, {})
        gone = [label for label in was if label not in is_now]
        new = [label for label in is_now if label not in was]
        other = [
            f"{label} ({was[label].pictures} {nouns.parts}, now {is_now[label].pictures})"
            if was[label].pictures != is_now[label].pictures
            else label
            for label in was
            if label in is_now and was[label] != is_now[label]
        ]
        phrases += [
            f"{nouns.amount(len(labels))} of {split} {what}: {some(labels)}"
            for labels, what in ((gone, "gone"), (new, "new"), (other, f"with other {nouns.parts}"))
            if labels
        ]
    return phrases


def refuse_trained(before: DataRecord, now: DataRecord, split: str) -> None:
    """Raise DataError if a class to be tested has the very pictures of a training class."""
    nouns = now.nouns
    trained = {facts: label for label, facts in before.splits.get("train", {}).items()}
    tested = now.splits.get(split, {})
    known = [
        label if trained[facts] == label else f"{label} (there {trained[facts]})"
        for label, facts in tested.items()
        if facts in trained
    ]
    if known:
        raise DataError(
            f"{nouns.amount(len(known))} to be tested with the {nouns.parts} of a {nouns.one} that "
            f"the run was trained on: {some(known)}; a test needs {nouns.many} that training has "
            "not seen"
        )


def some(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
