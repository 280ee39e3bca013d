"""What pictures hold, told by their bytes: two data sets alike in names, sizes and times differ."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from maml_cli.core.errors import DataError
from maml_cli.data.cache import cached_text
from maml_cli.data.files import Files, digest

SAMPLED = 64
"""So many files are read again at every start, to find out whether the others need to be."""


class File(Protocol):
    """One of the files, by name."""

    @property
    def files(self) -> Files: ...
    @property
    def name(self) -> str: ...


def content_digest(members: Sequence[File], cache: Path) -> str:
    """SHA-256 of the names and the contents of all members, in their order.

    All are read once. The digest is then noted in the cache, for as long as the folders and
    archives are the same ones with the same times and SAMPLED members have the same bytes. Raises
    StorageError.
    """
    sources = list(dict.fromkeys(member.files for member in members))
    every = -(-len(members) // SAMPLED) or 1
    place = digest(
        [
            *((files.fingerprint,) for files in sources),
            *((member.name,) for member in members),
            (_contents(members[::every]),),
        ]
    )
    return cached_text(
        cache,
        "content",
        key=place,
        make=lambda: digest(
            (member.name, content) for member, content in zip(members, _each(members), strict=True)
        ),
    )


def _contents(members: Sequence[File]) -> str:
    return digest((content,) for content in _each(members))


def _each(members: Sequence[File]) -> Iterable[str]:
    """SHA-256 of each, in their order; read in the order that is fastest."""
    order = sorted(
        range(len(members)),
        key=lambda i: (str(members[i].files.path), members[i].files.place(members[i].name)),
    )
    found = {i: _content(members[i]) for i in order}
    return (found[i] for i in range(len(members)))


def _content(member: File) -> str:
    try:
        return hashlib.sha256(member.files.read(member.name)).hexdigest()
    except DataError as error:  # named with all others when the pictures are decoded
        return str(error)
