"""What is typed at a shell, as Hydra's grammar takes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_PATH_KEY = re.compile(r"(.*[._])?(path|dir|file|folder|weights|resume|init_from)")
_PLAIN = re.compile(r"[\w./:+-]*", re.ASCII)
_TEXT = re.compile(r"(?!(nan|inf|true|false)$)([a-z_./][\w./:+-]*)?", re.ASCII | re.IGNORECASE)
"""What the grammar reads as text, and not as a number such as `2024` or `nan`."""


def readable(words: Sequence[str], *, multirun: bool = False) -> list[str]:
    """The words, with `~` replaced in values, and paths quoted that the grammar would misread.

    `dataset.path=My pictures (new)` becomes `dataset.path='My pictures (new)'`. In a sweep a comma
    separates values.
    """
    return [_readable(word, multirun=multirun) for word in words]


def expanded(value: str) -> str:
    """The value, with the home folder in place of a leading `~`."""
    if value != "~" and not value.startswith("~/"):
        return value
    try:
        return str(Path(value).expanduser())
    except RuntimeError:  # there is no home folder
        return value


def _readable(word: str, *, multirun: bool) -> str:
    key, equals, value = word.partition("=")
    if not equals or word.startswith("-") or value[:1] in ("'", '"') or "${" in value:
        return word
    value, is_path = expanded(value), bool(_PATH_KEY.fullmatch(key.lstrip("+~")))
    plain = _TEXT if is_path else _PLAIN
    if plain.fullmatch(value) or (multirun and "," in value):
        return f"{key}={value}"
    if not (is_path or _exists(value)):
        return word
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def _exists(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):
        return False
