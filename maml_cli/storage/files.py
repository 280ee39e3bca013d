"""Files that survive an interruption, and JSON that any reader takes."""

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maml_cli.core.errors import CheckpointError, StorageError


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns an OSError within into a StorageError that names the path and the way out."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}): free space or choose another "
            "place (maml-train: hydra.run.dir=DIR; maml-eval, maml-adapt: output=DIR)"
        ) from error


@contextmanager
def locked(directory: Path, *, wait: bool = False) -> Iterator[None]:
    """Makes the directory and keeps other processes out of it until the end of the block.

    Where another one is in it, raises CheckpointError, or waits for its end if told so. Raises
    StorageError where that cannot be told.
    """
    path = directory / ".lock"
    with storing(path):
        directory.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        try:
            with storing(path):
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except StorageError as error:
            if isinstance(error.__cause__, BlockingIOError):
                raise CheckpointError(
                    f"{directory}: another process is writing this run; wait for its end, or "
                    "choose another folder with hydra.run.dir=DIR"
                ) from None
            raise
        yield


def to_json(value: Any, indent: int | None = None) -> str:
    """The value as strict JSON: nan and inf, which JSON lacks, become null."""
    return json.dumps(_strict(value), indent=indent, ensure_ascii=False, allow_nan=False)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes the file in whole or leaves the old one; makes its folder; raises StorageError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
