"""Pictures by name, in a tar archive, compressed or not; nothing is ever unpacked."""

from __future__ import annotations

import lzma
import tarfile
import weakref
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from maml_cli.core.errors import DataError
from maml_cli.core.limits import (
    ARCHIVE_HEADER_BYTES,
    ARCHIVE_RATIO,
    ARCHIVE_SLACK_BYTES,
    scaled,
    too_large,
)
from maml_cli.core.regular_files import open_regular
from maml_cli.data.files import MAX_BYTES, digest, identity, reason, refuse_hostile, visible

if TYPE_CHECKING:
    from typing_extensions import Self

_UNREADABLE = (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError)
"""What reading a tar archive raises: ValueError if a number in a header is none."""


_EXTENDED = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
"""Headers that `tarfile` reads in one piece."""


class _Header(tarfile.TarInfo):
    """A header whose damage or lack is an error, which `tarfile` takes for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            found = super().frombuf(buf, encoding, errors)
            if found.type in _EXTENDED and found.size > ARCHIVE_HEADER_BYTES:
                raise tarfile.ReadError(f"a name or header of {found.size:,} bytes")
            return found
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # the mark of the end
            raise tarfile.ReadError(f"{error} where a file or the end should be") from error


class TarFiles:
    """The regular members of a tar archive.

    A tar archive has no table of contents: it is read once to find its members. Raises DataError if
    it is cut short, or if a member is a link or a device or its name leads out of the archive.
    """

    def __init__(self, archive: Path) -> None:
        self.path = archive
        try:
            file = open_regular(archive, follow=True)  # open as long as this object lives
            weakref.finalize(self, file.close)
            self._tar = tarfile.open(fileobj=file, tarinfo=_Header)  # noqa: SIM115 - likewise
            members = self._members_of(archive.stat().st_size)
            while self._tar.fileobj and self._tar.fileobj.read(MAX_BYTES):
                pass  # a compressed archive's checksum comes last
            status = archive.stat()
        except _UNREADABLE as error:
            raise DataError(
                f"{archive}: not a complete tar archive ({reason(error)}); get it again"
            ) from error
        others = {m.name for m in members if not (m.isfile() or m.isdir())}
        refuse_hostile(archive, [m.name for m in members], others)
        self._members = {m.name.removeprefix("./"): m for m in members if m.isfile()}
        self.names = visible(self._members)
        self.fingerprint = digest(
            [identity(status), *((name, self._members[name].size) for name in self.names)]
        )

    def _members_of(self, packed: int) -> list[tarfile.TarInfo]:
        """All members; they are read through, so they must not be far larger than the archive."""
        most = scaled(ARCHIVE_RATIO * packed + ARCHIVE_SLACK_BYTES)
        members, size = [], 0
        for member in self._tar:
            if member.size < 0:
                raise tarfile.ReadError(f"a member of {member.size} bytes")
            members.append(member)
            size += member.size
            if size > most:
                raise tarfile.ReadError(f"unpacked it has {too_large(size, most)}")
        return members

    def read(self, name: str) -> bytes:
        """The content of a member; raises DataError if it is damaged or far too large."""
        member = self._members[name]
        if member.size > MAX_BYTES:
            raise DataError(f"{self.path}: {name} says it is larger than {MAX_BYTES} bytes")
        try:
            file = self._tar.extractfile(member)
            content = file.read() if file else b""
        except _UNREADABLE as error:
            raise DataError(f"{self.path}: {name} is damaged ({error})") from error
        if len(content) != member.size:
            raise DataError(f"{self.path}: {name} is cut short")
        return content

    def place(self, name: str) -> int:
        """Where the content begins: a compressed archive can be read forwards only."""
        return self._members[name].offset_data
