"""Text and JSON that survive an interruption and any reader."""

import json
import math
import os
from pathlib import Path
from typing import Any


def to_json(value: Any, indent: int | None = None) -> str:
    """The value as strict JSON: nan and inf, which JSON lacks, become null."""
    return json.dumps(_strict(value), indent=indent, ensure_ascii=False, allow_nan=False)


def write_atomically(path: Path, text: str) -> None:
    """Writes the file in whole or leaves the old one; OSError if it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
