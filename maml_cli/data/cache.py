"""Decoded images, kept as one .npy file of bytes that later runs map into memory.

Beside `NAME-DIGEST.npy` lies `NAME-DIGEST.json` with the key (what the images were made from, and
how), the SHA-256 of the images and the CRC-32 of the whole .npy file. DIGEST is that of the key, so
images of another origin, size or program version have files of their own. The CRC-32 is taken
before every use: one pass, at memory speed, over bytes that training reads anyway.
"""

import contextlib
import ctypes
import hashlib
import json
import math
import os
import secrets
import signal
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_cli.core.errors import StorageError
from maml_cli.core.regular_files import open_regular, read_regular
from maml_cli.data.progress import say

Images = NDArray[np.uint8]
Pieces = Iterable[tuple[int, Images]]
"""Consecutive images along the first axis, with the place of the first; in any order."""

_CHUNK = 2**22
_EXIT_CODE = 3
"""That of damaged data."""
_FACTS_BYTES = 2**16
_REMEMBERED_BYTES = 2**24
"""Names and digests of a million pictures are fewer."""


class Cached(NamedTuple):
    """Images mapped copy-on-write, and the SHA-256 of their bytes."""

    images: Images
    checksum: str


def cached_images(
    directory: Path,
    name: str,
    *,
    key: str,
    shape: tuple[int, ...],
    pieces: Callable[[], Pieces],
) -> Cached:
    """The images of this key, mapped from the cache; `pieces()` makes them if need be.

    The pieces together fill `shape` once. A damaged file is made again. Both files appear complete
    or not at all, whatever ends the program and however many programs do it at once. No more than a
    piece is in memory. Raises StorageError where the cache cannot be written.
    """
    stem = directory / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    pixels, facts = stem.with_suffix(".npy"), stem.with_suffix(".json")
    checksum = _intact(pixels, facts, key)
    if checksum is None:
        with _writing(directory):
            with _replacing(pixels) as file:
                start = _write(file, shape, pieces())
                checksum, crc32 = _sha256(file, start), _crc32(file)
            with _replacing(facts) as file:
                found = {"key": key, "sha256": checksum, "crc32": crc32}
                file.write(json.dumps(found, indent=1).encode())
    _name_if_cut_short(pixels)
    return Cached(np.load(pixels, mmap_mode="c"), checksum)


def remembered(directory: Path, name: str, key: str) -> Any:
    """What was kept for this key; None if nothing was, or it cannot be read."""
    try:
        known: dict[str, Any] = json.loads(
            read_regular(_facts(directory, name, key), _REMEMBERED_BYTES)
        )
        return known["facts"] if known["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(directory: Path, name: str, key: str, facts: Any) -> None:
    """Keep facts, as JSON has them, for later runs; raises StorageError."""
    with _writing(directory), _replacing(_facts(directory, name, key)) as file:
        file.write(json.dumps({"key": key, "facts": facts}).encode())


def cached_text(directory: Path, name: str, *, key: str, make: Callable[[], str]) -> str:
    """The text of this key, as it was made before, or by `make`; raises StorageError."""
    text = remembered(directory, name, key)
    if not isinstance(text, str):
        text = make()
        remember(directory, name, key, text)
    return text


def _facts(directory: Path, name: str, key: str) -> Path:
    return directory / f"{name}-facts-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Makes the folder; turns an OSError of the block into a StorageError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StorageError(
            f"The image cache {directory} cannot be written ({error.strerror or error}): "
            "free some space, or set cache_dir to another folder."
        ) from error


def _intact(pixels: Path, facts: Path, key: str) -> str | None:
    """The SHA-256 that the images had when they were made, if nothing has changed since."""
    try:
        found: dict[str, Any] = json.loads(read_regular(facts, _FACTS_BYTES))
        with open_regular(pixels) as file:
            intact = (found["key"], found["crc32"]) == (key, _crc32(file))
        checksum = str(found["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        say(f"{pixels} is damaged: making it again")
        return None
    return checksum


def _name_if_cut_short(pixels: Path) -> None:
    """End with words, not by a signal alone, if the mapped file becomes shorter while it is used.

    Another program may do that; the next read of the missing part is a bus error (SIGBUS), which
    Python's own handlers cannot end.
    """
    message = (
        f"\nerror: {pixels}: was cut short while it was in use; the same command makes it again, "
        "and resume=DIR goes on with the run\n"
    ).encode()

    def end(_: int) -> None:
        os.write(2, message)
        os._exit(_EXIT_CODE)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)
    _handlers.append(handler)  # must live as long as the process
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = [ctypes.c_int, type(handler)]
        libc.signal.restype = ctypes.c_void_p
        libc.signal(signal.SIGBUS, handler)


_handlers: list[Any] = []


def _crc32(file: BinaryIO) -> int:
    crc = 0
    for chunk in _chunks(file, 0):
        crc = zlib.crc32(chunk, crc)
    return crc


def _sha256(file: BinaryIO, start: int) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(file, start):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: BinaryIO, start: int) -> Iterator[bytes]:
    """Read, not mapped: what is mapped counts as memory of this program."""
    file.seek(start)
    while chunk := file.read(_CHUNK):
        yield chunk


def _write(file: BinaryIO, shape: tuple[int, ...], pieces: Pieces) -> int:
    """Where in the file the images start."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    start, image_size = file.tell(), math.prod(shape[1:])
    size = 0
    for place, images in pieces:
        file.seek(start + place * image_size)
        size += file.write(np.ascontiguousarray(images).data)
    if size != math.prod(shape):
        raise ValueError(f"{size} bytes do not fill {shape}")
    return start


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is complete and on disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with _nameless(path.parent) or temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not temporary.exists():
                _give_name(file, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _nameless(directory: Path) -> BinaryIO | None:
    """A file that vanishes with this program, even a killed one; None where there are none."""
    try:
        return os.fdopen(os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except (AttributeError, OSError):  # not on Linux, or not on this file system
        return None


def _give_name(file: BinaryIO, path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:  # with a folder given, os.link follows the symbolic link to the file itself
        os.link(f"/proc/self/fd/{file.fileno()}", path.name, dst_dir_fd=directory)
    finally:
        os.close(directory)
