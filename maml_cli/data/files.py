"""Pictures by name, in a folder or in a zip archive; nothing is ever unpacked."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from maml_cli.core.errors import DataError

MAX_BYTES = 64 * 2**20
"""No picture is larger; an archive member that says it is would only fill the memory."""


class Files(Protocol):
    """Read-only files; a name is relative, with forward slashes, and starts with the top folder."""

    path: Path
    """The folder or archive."""
    names: list[str]
    """Sorted; hidden files and those in hidden folders are left out."""
    fingerprint: str
    """Another one as soon as a file differs in name, size, time of change or recorded checksum."""

    def read(self, name: str) -> bytes:
        """The content of a file; raises DataError if it cannot be read."""
        ...


class FolderFiles:
    """The files in and below a folder; raises DataError if one cannot be looked at."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        paths = [Path(parent, file) for parent, _, files in os.walk(folder) for file in files]
        try:
            status = {path.relative_to(folder.parent).as_posix(): path.stat() for path in paths}
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}") from error
        self.names = _visible(status)
        self.fingerprint = _digest(
            (name, status[name].st_size, status[name].st_mtime_ns) for name in self.names
        )

    def read(self, name: str) -> bytes:
        """The content of a file; raises DataError if it cannot be read."""
        path = self.path.parent / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error


class ZipFiles:
    """The members of a zip archive, each checked against its CRC-32 when it is read.

    Raises DataError if the table of contents, which lies at the archive's end, cannot be read.
    """

    def __init__(self, archive: Path) -> None:
        self.path = archive
        try:
            self._zip = zipfile.ZipFile(archive)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{archive}: not a complete zip archive ({error}); get it again"
            ) from error
        members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        self.names = _visible(members)
        self.fingerprint = _digest(
            (name, members[name].file_size, members[name].CRC) for name in self.names
        )

    def read(self, name: str) -> bytes:
        """The content of a member; raises DataError if it is damaged or far too large."""
        if self._zip.getinfo(name).file_size > MAX_BYTES:
            raise DataError(f"{self.path}: {name} says it is larger than {MAX_BYTES} bytes")
        try:
            return self._zip.read(name)
        # RuntimeError: encrypted; NotImplementedError: an unknown way of compression
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: {name} is damaged ({error})") from error


def _visible(names: Iterable[str]) -> list[str]:
    return sorted(
        name
        for name in names
        if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    )


def _digest(facts: Iterable[tuple[object, ...]]) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(repr(fact).encode())
    return digest.hexdigest()
