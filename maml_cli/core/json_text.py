"""Strict JSON: text that any reader takes, and entries that are checked as they are read."""

import json
import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
LARGEST = 2**53
"""Whole numbers up to here are exact in every reader of JSON."""


def to_json(value: Any, indent: int | None = None) -> str:
    """The value as strict JSON: nan and inf, which JSON lacks, become null."""
    return json.dumps(_strict(value), indent=indent, ensure_ascii=False, allow_nan=False)


def parsed(text: str) -> Any:
    """What a JSON text holds; raises ValueError, also for `NaN` and what is nested too deeply."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class JsonObject:
    """The entries of a JSON object. A missing or mistyped one raises ValueError, which names it.

    `place` is the path of this object in its file, such as `test`; empty for the file's own.
    """

    def __init__(self, content: object, place: str = "") -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{place or 'the file'} is not a JSON object")
        self._content, self._place = content, place

    @classmethod
    def parse(cls, text: str) -> "JsonObject":
        """The object that a JSON text holds."""
        return cls(parsed(text))

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def name(self, key: str) -> str:
        """The entry's path in the file, such as `test.mean`."""
        return f"{self._place}.{key}" if self._place else key

    def object(self, key: str) -> "JsonObject":
        return JsonObject(self._entry(key), self.name(key))

    def objects(self, key: str) -> dict[str, "JsonObject"]:
        """The objects within an object, by their keys."""
        inner = self.object(key)
        return {name: inner.object(name) for name in inner._content}

    def array(self, key: str) -> list["JsonObject"]:
        """The objects of a list."""
        items = self._read(key, lambda value: _of(value, list), "a list")
        return [JsonObject(item, f"{self.name(key)}[{i}]") for i, item in enumerate(items)]

    def text(self, key: str) -> str:
        return self._read(key, _text, "a string")

    def text_or_null(self, key: str) -> str | None:
        return None if self._entry(key) is None else self.text(key)

    def integer(self, key: str) -> int:
        """A whole number from 0 to 2^53."""
        return self._read(key, _integer, "a whole number from 0 up")

    def integer_or_absent(self, key: str) -> int | None:
        return self.integer(key) if key in self else None

    def number(self, key: str) -> float:
        """A number; null stands for nan."""
        return self._read(key, _number, "a number or null")

    def integers(self, key: str) -> list[int]:
        return self._read(key, _list_of(_integer), "a list of whole numbers from 0 up")

    def numbers(self, key: str) -> list[float]:
        return self._read(key, _list_of(_number), "a list of numbers")

    def numbers_by_name(self, key: str) -> dict[str, list[float]]:
        return self._read(key, _mapping_to(_list_of(_number)), "an object of lists of numbers")

    def texts(self, key: str) -> list[str]:
        return self._read(key, _list_of(_text), "a list of strings")

    def switches(self, key: str) -> dict[str, bool | str]:
        return self._read(key, _mapping_to(_switch), "an object of booleans and strings")

    def texts_by_name(self, key: str) -> dict[str, str | None]:
        return self._read(key, _mapping_to(_text_or_none), "an object of strings")

    def _entry(self, key: str) -> Any:
        if key not in self._content:
            raise ValueError(f"{self.name(key)} is missing")
        return self._content[key]

    def _read(self, key: str, convert: Callable[[Any], T], kind: str) -> T:
        value = self._entry(key)
        try:
            return convert(value)
        except TypeError:
            shown = json.dumps(value, default=repr)
            raise ValueError(f"{self.name(key)} must be {kind}, but is {shown[:80]}") from None


def _text(value: Any) -> str:
    return _of(value, str)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _of(value, str)


def _switch(value: Any) -> bool | str:
    return value if isinstance(value, bool) else _of(value, str)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not 0 <= _of(value, int) <= LARGEST:
        raise TypeError
    return _of(value, int)


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or abs(value) > sys.float_info.max
    ):
        raise TypeError
    return float(value)


def _of(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _list_of(convert: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    return lambda value: [convert(item) for item in _of(value, list)]


def _mapping_to(convert: Callable[[Any], T]) -> Callable[[Any], dict[str, T]]:
    return lambda value: {key: convert(item) for key, item in _of(value, dict).items()}
