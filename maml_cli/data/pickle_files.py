"""The cached pickles of Mini-ImageNet, read as if each were a folder of pictures."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maml_cli.core.errors import DataError
from maml_cli.data.files import digest, identity
from maml_cli.data.restricted_pickle import read_pickle

CHANNELS = 3


class PickleFiles:
    """The images of `mini-imagenet-cache-SPLIT.pkl`, as PPM pictures `SPLIT/CLASS/ROW.ppm`.

    The file holds `image_data`, an array `(images, height, width, 3)` of bytes, and `class_dict`,
    from class to rows. Raises DataError if it holds anything else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        split = path.stem.rpartition("-")[2]
        content = read_pickle(path)
        try:
            self._images, classes = content["image_data"], content["class_dict"]
            _, height, width, channels = self._images.shape
            self._header = b"P6 %d %d 255\n" % (width, height)
            rows: dict[str, int] = {
                self._name(split, label, row): row for label, r in classes.items() for row in r
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._refusal(error) from error
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

    def _refusal(self, reason: object) -> DataError:
        return DataError(
            f"{self.path}: no cached pickle of Mini-ImageNet, which has image_data and class_dict "
            f"({reason}); get it again"
        )
