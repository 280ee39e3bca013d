"""What a machine refuses, in words: memory, threads, processes, the current folder."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

from maml_cli.core.errors import StorageError, UserError

LEAST_ADDRESS_SPACE = 1_500 * 2**20
"""Bytes; torch alone, once it is imported, takes about 1,200 MiB of addresses."""
_MEMORY = (
    *("can't allocate memory", "cannot allocate memory", "failed to map segment"),
    *("not enough memory", "out of memory", "bad_alloc"),
)
_THREADS = ("can't start new thread", "thread creation failed")


class MachineError(UserError):
    """The machine refuses what the program needs."""

    exit_code = 6


def require_machine() -> None:
    """Raise MachineError or StorageError where nothing could run at all."""
    try:
        Path.cwd()
    except OSError:
        raise StorageError("the folder you are in is gone: cd to one that is there") from None
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY and allowed < LEAST_ADDRESS_SPACE:
        raise MachineError(
            f"this shell allows a program {allowed // 2**20:,} MiB of addresses (ulimit -v), and "
            f"{LEAST_ADDRESS_SPACE // 2**20:,} MiB are the least: raise it, or ask for more memory"
        )


def machine_error(error: BaseException) -> UserError | None:
    """The error in words, if it is the machine that refuses something; else None."""
    said = str(error).lower()
    if isinstance(error, MemoryError) or any(words in said for words in _MEMORY):
        return MachineError(
            "memory ran out: lower train.tasks_per_batch, shots or queries, take a smaller "
            "network, or raise the limit (ulimit -v, or the memory that the job asks for)"
        )
    if any(words in said for words in _THREADS) or isinstance(error, BlockingIOError):
        return MachineError(
            "the machine refuses another thread or process: raise the limit (ulimit -u), or set "
            "engine=loop and OMP_NUM_THREADS=1"
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return MachineError("too many files are open: raise the limit (ulimit -n)")
    return None
