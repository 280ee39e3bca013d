"""Pictures by name, in a folder or in a zip archive; nothing is ever unpacked."""

import hashlib
import lzma
import os
import stat
import weakref
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

from maml_cli.core.errors import DataError
from maml_cli.core.limits import PICTURE_BYTES
from maml_cli.core.regular_files import open_regular, read_regular

MAX_BYTES = PICTURE_BYTES
"""No picture is larger; an archive member that says it is would only fill the memory."""

UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What reading a zip archive raises: RuntimeError if it is encrypted, or packed in a way that is
not known, ValueError if a name is no UTF-8."""


class Files(Protocol):
    """Read-only files; a name is relative, with forward slashes, and starts with the top folder."""

    path: Path
    """The folder or archive."""
    names: list[str]
    """Sorted; hidden files and those in hidden folders are left out."""
    fingerprint: str
    """Another one as soon as a file is another one or was touched; see `identity`."""

    def read(self, name: str) -> bytes:
        """The content of a file; raises DataError if it cannot be read."""
        ...

    def place(self, name: str) -> int:
        """Files are read fastest in the order of their places."""
        ...


def location(files: Files, name: str) -> str:
    """Where a file is: its path, or the archive and its name there."""
    inside_folder = files.path.is_dir()
    return str(files.path.parent / name) if inside_folder else f"{files.path}: {name}"


def name_within(files: Files, name: str) -> str:
    """The name below the folder, or in the archive."""
    return name.partition("/")[2] if files.path.is_dir() else name


class FolderFiles:
    """The files in and below a folder, links followed but not back up.

    Raises DataError if one cannot be looked at.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        try:
            paths = list(_walk(folder))
            status = {path.relative_to(folder.parent).as_posix(): path.stat() for path in paths}
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}") from error
        top = len(folder.name) + 1  # the folder itself may be a hidden one
        self.names = [f"{folder.name}/{name}" for name in visible(name[top:] for name in status)]
        self.fingerprint = digest((name, *identity(status[name])) for name in self.names)

    def read(self, name: str) -> bytes:
        """The content of a file; raises DataError if it cannot be read."""
        path = self.path.parent / name
        try:
            return read_regular(path, MAX_BYTES, follow=True)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error

    def place(self, name: str) -> int:
        """No order of files is known to be faster than another."""
        return 0


class SingleFile(FolderFiles):
    """One file of a folder; raises DataError if it cannot be looked at."""

    def __init__(self, path: Path) -> None:
        self.path, self.names = path.parent, [f"{path.parent.name}/{path.name}"]
        try:
            self.fingerprint = digest([(path.name, *identity(path.stat()))])
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}") from error


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> NoReturn:
        raise error

    for name, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(name).resolve()
        folders[:] = [
            inner for inner in folders if not here.is_relative_to(Path(name, inner).resolve())
        ]
        yield from (Path(name, file) for file in files)


class ZipFiles:
    """The members of a zip archive, each checked against its CRC-32 when it is read.

    Raises DataError if the table of contents, which lies at the archive's end, cannot be read, or
    if a member is a link or its name leads out of the archive.
    """

    def __init__(self, archive: Path) -> None:
        self.path = archive
        try:
            file = open_regular(archive, follow=True)
            weakref.finalize(self, file.close)
            self._zip, status = zipfile.ZipFile(file), os.fstat(file.fileno())
        except UNREADABLE as error:
            raise DataError(
                f"{archive}: not a complete zip archive ({reason(error)}); get it again"
            ) from error
        links = {i.filename for i in self._zip.infolist() if stat.S_ISLNK(i.external_attr >> 16)}
        refuse_hostile(archive, self._zip.namelist(), links)
        # some programs for Windows write backslashes
        members = {i.filename.replace("\\", "/"): i for i in self._zip.infolist()}
        self._members = {name: i for name, i in members.items() if not name.endswith("/")}
        self.names = visible(self._members)
        self.fingerprint = digest(
            [
                identity(status),
                *(
                    (name, self._members[name].file_size, self._members[name].CRC)
                    for name in self.names
                ),
            ]
        )

    def read(self, name: str) -> bytes:
        """The content of a member; raises DataError if it is damaged or far too large."""
        member = self._members[name]
        if member.file_size > MAX_BYTES:
            raise DataError(f"{self.path}: {name} says it is larger than {MAX_BYTES} bytes")
        try:
            return self._zip.read(member)
        except UNREADABLE as error:
            raise DataError(f"{self.path}: {name} is damaged ({error})") from error

    def place(self, name: str) -> int:
        """Where the member begins."""
        return self._members[name].header_offset


def reason(error: BaseException) -> str:
    """What went wrong, without the path, which stands before it."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def refuse_hostile(archive: Path, names: Iterable[str], links: Collection[str]) -> None:
    """Raise DataError for a member that is no plain file, or whose name leads elsewhere.

    Nothing is unpacked here, so such a member could do no harm; but no honest archive has one, and
    other programs may unpack it.
    """
    hostile = [name for name in names if name in links or _leads_out(name)]
    if hostile:
        what = "links or devices" if hostile[0] in links else "names that lead out of it"
        raise DataError(
            f"{archive}: the archive holds {what} ({hostile[0]!r}, {len(hostile)} in all); it is "
            "not used: get it from a source that you trust"
        )


def _leads_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":") or "\0" in name


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Which file it is, its size, and when it was touched: a copy is another file.

    A program can set the time of the last change of content, but not that of the last change of
    status.
    """
    return (
        *(status.st_dev, status.st_ino, status.st_size),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )


def visible(names: Iterable[str]) -> list[str]:
    """Sorted, without hidden files and those in hidden folders."""
    return sorted(
        name
        for name in names
        if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    )


def digest(properties: Iterable[tuple[object, ...]]) -> str:
    """A short text that changes with the properties."""
    sha256 = hashlib.sha256()
    for fact in properties:
        sha256.update(repr(fact).encode())
    return sha256.hexdigest()
