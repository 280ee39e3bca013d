"""Files that survive an interruption."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maml_cli.core.errors import CheckpointError, StorageError
from maml_cli.core.regular_files import kind, open_regular
from maml_cli.storage.run_folder import RunFolder


def require_own_files(folder: RunFolder) -> None:
    """Raise CheckpointError if a run's file or folder is a link, a pipe or a device.

    So nothing is read or written outside a folder that another person made.
    """
    problems = []
    for path, wanted in folder.entries():
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        if kind(status) not in ("a file", "a folder"):
            problems.append(f"{path}: is {kind(status)}, and should be {wanted}")
    if problems:
        raise CheckpointError(
            *problems, "Only regular files and folders are used as a run's; take these away."
        )


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
        file = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
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
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:  # never through a link
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
