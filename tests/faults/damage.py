"""What is done to files, and what tells that they were left alone."""

import os
import stat
from pathlib import Path


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def contents(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Kind, rights and bytes of all that is in the folder and below, as far as it may be read."""
    return {
        path.relative_to(folder).as_posix(): (
            stat.filemode(path.lstat().st_mode),
            path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else b"",
        )
        for path in folder.rglob("*")
    }
