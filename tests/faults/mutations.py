"""Files of a run with one value replaced or deleted: by whom, nobody knows."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import torch

DELETED = object()
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 10**400, 1e308, -0.5, float("nan"), float("inf")),
    *("", "x", "../x", "\x1b[2J", "a\nb|c", "${x}", "9" * 5000),
    *([], [1], {}, {"a": 1}, [[[]]]),
    DELETED,
]
"""What a value of JSON or YAML is replaced by."""
TENSORS: list[Any] = [
    torch.zeros(0),
    torch.zeros(3),
    torch.full((2, 2), float("nan")),
    torch.zeros(1).expand(10**9),
    torch.zeros(2, dtype=torch.int64),
    torch.zeros((), dtype=torch.bool),
]
"""And one of a checkpoint, beside those."""
SHOWN = 4
"""So many entries of each list are replaced."""


def mutated(value: Any, randomness: random.Random, others: list[Any]) -> tuple[str, Any]:
    """A copy with one place changed, and in words which."""
    path = randomness.choice(list(_paths(value, ())))
    new = randomness.choice(others)
    said = "deleted" if new is DELETED else repr(new)[:60]
    return f"{'.'.join(map(str, path))}: {said}", _put(value, path, new)


def _paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield path
    keys = value if isinstance(value, dict) else ()
    if isinstance(value, list | tuple):
        keys = range(min(len(value), SHOWN))
    for key in keys:
        yield from _paths(value[key], (*path, key))


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return {} if new is DELETED else new
    changed = list(value) if isinstance(value, tuple) else copy.copy(value)
    key, *rest = path
    if rest:
        changed[key] = _put(value[key], tuple(rest), new)
    elif new is DELETED:
        del changed[key]
    else:
        changed[key] = new
    return changed
