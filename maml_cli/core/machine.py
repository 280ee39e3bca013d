"""What this machine can do, whatever a file says of another one, and how its memory is used."""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of the C library's `mallopt` (malloc.h)."""


def usable_threads(asked: int) -> int:
    """As many threads as asked for, but no more than the machine has cores."""
    return max(1, min(asked, os.cpu_count() or 1))


def keep_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones.

    The C library gives the memory of large tensors back to the system and asks for it again, page
    by page. An inner step frees and makes dozens. What is free now is given back once; elsewhere
    than with GNU's C library on Linux nothing is done.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.malloc_trim(0)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)
