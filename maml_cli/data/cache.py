"""Decoded images, kept as one .npy file of bytes that later runs map into memory.

Beside `NAME-DIGEST.npy` lies `NAME-DIGEST.json` with the key (what the images were made from and how),
the shape and a CRC-32 of the pixels. DIGEST is that of the key, so that images of another origin,
size or program version have another file. The pixels are checked in full before every use: that is
one pass at memory speed over bytes that training reads anyway.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from maml_cli.core.errors import StorageError
from maml_cli.data.progress import say

Images = NDArray[np.uint8]


def cached_images(
    directory: Path,
    name: str,
    *,
    key: str,
    shape: tuple[int, ...],
    rows: Callable[[], Iterable[Images]],
) -> Images:
    """The images of this key, mapped copy-on-write from the cache; `rows()` makes them if need be.

    `rows` gives consecutive pieces along the first axis, which together fill `shape`. A damaged file
    is made again. Both files appear complete or not at all, whatever ends the program and however many
    programs do it at once. Raises StorageError where the cache cannot be written.
    """
    stem = directory / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    pixels, facts = stem.with_suffix(".npy"), stem.with_suffix(".json")
    expected = {"key": key, "shape": list(shape)}
    if (images := _read(pixels, facts, expected)) is not None:
        return images
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _replacing(pixels) as file:
            crc32 = _write_rows(file, shape, rows())
        with _replacing(facts) as file:
            file.write(json.dumps(expected | {"crc32": crc32}, indent=1).encode())
    except OSError as error:
        raise StorageError(
            f"The image cache {directory} cannot be written ({error.strerror or error}): "
            "free some space, or set cache_dir to another folder."
        ) from error
    return _map(pixels)


def _map(pixels: Path) -> Images:
    images: Images = np.load(pixels, mmap_mode="c", allow_pickle=False)
    return images


def _read(pixels: Path, facts: Path, expected: dict[str, object]) -> Images | None:
    try:
        stored = json.loads(facts.read_bytes())
        images = _map(pixels)
        intact = stored == expected | {"crc32": zlib.crc32(images)}
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        intact = False
    if not intact:
        say(f"{pixels} is damaged: making it again")
        return None
    return images


def _write_rows(file: IO[bytes], shape: tuple[int, ...], rows: Iterable[Images]) -> int:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    crc32 = size = 0
    for row in rows:
        data = np.ascontiguousarray(row, dtype=np.uint8)
        file.write(data)
        crc32, size = zlib.crc32(data, crc32), size + data.size
    assert size == np.prod(shape), f"{size} pixels do not fill {shape}"
    return crc32


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` once it is complete and on disk."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
