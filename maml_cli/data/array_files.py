"""Pickles and .npz files of Mini-ImageNet, read as if each were a folder of pictures."""

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maml_cli.core.errors import DataError
from maml_cli.core.limits import CHECKPOINT_BYTES, scaled, too_large
from maml_cli.core.regular_files import open_regular
from maml_cli.data.files import UNREADABLE, digest, identity, reason
from maml_cli.data.restricted_pickle import read_pickle
from maml_cli.data.split_names import split_at_end, split_of

CHANNELS = 3
PICKLES, NPZ = (".pkl", ".pickle"), (".npz",)
ENDINGS = (*PICKLES, *NPZ)
NPZ_BYTES = 4 * CHECKPOINT_BYTES
"""Of an .npz file, unpacked; the 38,400 training images have 0.8 GB."""
_IMAGES, _LABELS = ("image_data", "data", "images", "x"), ("labels", "targets", "y")
_PHASE = re.compile(r"(.+)_phase_(\w+)")


_MISTYPED = (StopIteration, LookupError, TypeError, ValueError, AttributeError, OverflowError)


class NoPictures(DataError):
    """A file that can be read, but holds something else, such as a program's own notes."""


class ArrayFiles:
    """The images of a file of arrays, as PPM pictures `SPLIT/CLASS/ROW.ppm`.

    The file is called after its split, such as `mini-imagenet-cache-val.pkl`. It holds an array
    `(images, height, width, 3)` of bytes called `image_data`, `data`, `images` or `x`. Beside it is
    `class_dict`, from class to rows, or the class of each row called `labels`, `targets` or `y`, if
    need be with `catname2label`, from name to class. Raises NoPictures if it holds something else,
    and DataError if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        split = _split(path)
        content = read_pickle(path) if path.suffix.lower() in PICKLES else _read_npz(path)
        if split is None or not isinstance(content, Mapping):
            raise self._refusal(_what(content) if split else "no split in its name")
        try:
            self._images = next(content[name] for name in _IMAGES if name in content)
            _, height, width, channels = self._images.shape
            self._header = b"P6 %d %d 255\n" % (width, height)
            rows: dict[str, int] = {
                self._name(split, label, row): int(row)
                for label, some in _classes(content, split).items()
                for row in some
            }
        except _MISTYPED as error:
            raise self._refusal(_what(content)) from error
        if channels != CHANNELS or not all(0 <= row < len(self._images) for row in rows.values()):
            raise self._refusal("rows that are no colour images")
        self._rows = rows
        self.names = sorted(rows)
        self.fingerprint = digest([identity(path.stat())])

    def read(self, name: str) -> bytes:
        """The picture of that name."""
        return self._header + self._image(self._rows[name]).tobytes()

    def _image(self, row: int) -> NDArray[np.uint8]:
        images: NDArray[np.uint8] = self._images
        if not isinstance(images, np.memmap):
            image: NDArray[np.uint8] = images[row]
            return image
        # read, not mapped: what is mapped counts as memory of this program
        size = math.prod(images.shape[1:])
        return np.fromfile(self.path, np.uint8, size, offset=images.offset + row * size)

    def place(self, name: str) -> int:
        """The row."""
        return self._rows[name]

    @staticmethod
    def _name(split: str, label: Any, row: Any) -> str:
        if not re.fullmatch(r"[\w-]+", label) or not isinstance(row, int | np.integer):
            raise TypeError(f"class {label!r} with row {row!r}")
        return f"{split}/{label}/{row:08d}.ppm"

    def _refusal(self, found: str) -> NoPictures:
        return NoPictures(
            f"{self.path}: no file of Mini-ImageNet's pictures ({found}); read are image_data and "
            "class_dict, or data and labels"
        )


def _split(path: Path) -> str | None:
    """The split by the file's name; of `train_phase_val`, images of training classes, none."""
    if phase := _PHASE.fullmatch(path.stem):
        return split_at_end(phase[1]) if split_of(phase[2]) == "train" else None
    return split_at_end(path.stem)


def _classes(content: Mapping[str, Any], split: str) -> Mapping[str, Any]:
    """The rows of each class by its name; numbers are told apart by their split."""
    if "class_dict" in content:
        found: Mapping[str, Any] = content["class_dict"]
        return found
    labels = next(content[name] for name in _LABELS if name in content)
    if len(labels) != len(next(content[name] for name in _IMAGES if name in content)):
        raise ValueError("as many labels as images are needed")
    numbers = content.get("catname2label", {})
    names = {number: str(name) for name, number in numbers.items()}
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        plain = label if isinstance(label, str) else int(label)
        named = plain if isinstance(plain, str) else names.get(plain, f"{split}{plain:03d}")
        rows.setdefault(named, []).append(row)
    return rows


def _read_npz(path: Path) -> Mapping[str, Any]:
    """The arrays by name; nothing in them is ever run. Raises DataError."""
    try:
        with open_regular(path, follow=True) as file:
            with zipfile.ZipFile(file) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > scaled(NPZ_BYTES):
                raise ValueError(too_large(size, scaled(NPZ_BYTES)))
            with np.load(file, allow_pickle=False) as arrays:
                content = {name: arrays[name] for name in arrays.files}
    except (*UNREADABLE, MemoryError) as error:
        raise DataError(
            f"{path}: not an .npz file of arrays ({reason(error)}); get it again"
        ) from error
    for name in _IMAGES:
        if name in content and content[name].dtype != np.uint8:
            raise NoPictures(f"{path}: {name} is an array of {content[name].dtype}, not of bytes")
    return content


def _what(content: Any) -> str:
    """What the file holds, in a few words."""
    if isinstance(content, np.ndarray):
        return f"an array {' x '.join(map(str, content.shape))}"
    if isinstance(content, Mapping):
        names = [str(name) for name in content]
        return f"it holds {', '.join([*names[:5], *(['...'] if len(names) > 5 else [])])}"
    return f"a {type(content).__name__}"
