"""Decoded images, kept as one .npy file of bytes that later runs map into memory.

Beside `NAME-DIGEST.npy` lies `NAME-DIGEST.json` with the key (what the images were made from, and
how) and the CRC-32 of the whole .npy file. DIGEST is that of the key, so images of another origin,
size or program version have files of their own. The CRC-32 is taken before every use: one pass, at
memory speed, over bytes that training reads anyway.
"""

import contextlib
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

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

    `rows` gives consecutive pieces along the first axis, which together fill `shape`. A damaged
    file is made again. Both files appear complete or not at all, whatever ends the program and
    however many programs do it at once. Raises StorageError where the cache cannot be written.
    """
    stem = directory / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    pixels, facts = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if not _intact(pixels, facts, key):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with _replacing(pixels) as file:
                _write(file, shape, rows())
            with _replacing(facts) as file:
                file.write(json.dumps({"key": key, "crc32": _crc32(pixels)}, indent=1).encode())
        except OSError as error:
            raise StorageError(
                f"The image cache {directory} cannot be written ({error.strerror or error}): "
                "free some space, or set cache_dir to another folder."
            ) from error
    images: Images = np.load(pixels, mmap_mode="c")
    return images


def _intact(pixels: Path, facts: Path, key: str) -> bool:
    try:
        intact: bool = json.loads(facts.read_bytes()) == {"key": key, "crc32": _crc32(pixels)}
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        intact = False
    if not intact:
        say(f"{pixels} is damaged: making it again")
    return intact


def _crc32(path: Path) -> int:
    return zlib.crc32(np.memmap(path, np.uint8, mode="r").data)


def _write(file: BinaryIO, shape: tuple[int, ...], rows: Iterable[Images]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    size = sum(file.write(np.ascontiguousarray(row).data) for row in rows)
    if size != np.prod(shape):
        raise ValueError(f"{size} bytes do not fill {shape}")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is complete and on disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
