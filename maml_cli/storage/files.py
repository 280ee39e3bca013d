"""Files that survive an interruption."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maml_cli.core.errors import CheckpointError, StorageError
from maml_cli.storage.run_folder import RunFolder


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a StorageError that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}): free space or choose another "
            "place (maml-train: hydra.run.dir=DIR; maml-eval, maml-adapt: output=DIR)"
        ) from error


@contextmanager
def locked(directory: Path, *, wait: bool = False) -> Iterator[None]:
    """Make the directory and lock it against other processes until the end of the block.

    Where another process holds the lock: raises CheckpointError, or with `wait` waits for its end.
    Raises StorageError where the lock cannot be taken for another reason.
    """
    path = RunFolder(directory).lock
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


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write the whole file or leave the old one; makes its folder; raises StorageError."""
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
