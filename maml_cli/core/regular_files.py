"""Regular files: what is a link, a pipe or a device is never read or written as a run's file."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

from maml_cli.core.limits import scaled, too_large

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}


def kind(status: os.stat_result) -> str:
    """`a link`, `a pipe`, `a folder`, `a file` and so on."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "no file")


def open_regular(path: Path, flags: int = os.O_RDONLY, *, follow: bool = False) -> BinaryIO:
    """The file, opened with these flags of `os.open`; raises OSError unless it is a regular one.

    A link is refused too, unless `follow` says that the file behind it is meant. Never waits for a
    pipe's other end.
    """
    try:
        _require_regular(Path(path).stat(follow_symlinks=follow), path)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    guarded = flags | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, guarded, 0o666)
    try:
        _require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    mode = "rb" if not flags & os.O_ACCMODE else "ab" if flags & os.O_APPEND else "wb"
    return cast(BinaryIO, os.fdopen(descriptor, mode))


def read_regular(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes; raises OSError."""
    most = scaled(limit)
    with open_regular(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""
    if size > most or len(content) > most:
        said = f"has {too_large(max(size, len(content)), most)}"
        raise OSError(errno.EFBIG, said, str(path))
    return content


def read_text(path: Path, limit: int) -> str:
    """The same as text; raises OSError, or ValueError if it is not UTF-8."""
    return read_regular(path, limit).decode("utf-8")


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        said = f"is {kind(status)}, and only regular files are used"
        raise OSError(errno.EINVAL, said, str(path))
