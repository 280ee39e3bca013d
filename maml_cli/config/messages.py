"""The sentences that tell a user what a setting may be, what it is not, and what was meant."""

from __future__ import annotations

import types
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    types.NoneType: "null",
}
_BOUNDS = {
    "ge": "at least {}",
    "gt": "greater than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "min_length": "with at least {} of them",
    "max_length": "with at most {} of them",
}


def typed(value: Any) -> str:
    """A value as it is typed on the command line: `null`, `true`, `[40,40]`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{','.join(typed(item) for item in value)}]"
        case dict():
            return f"{{{','.join(f'{key}:{typed(item)}' for key, item in value.items())}}}"
        case _:
            return str(value)


def alternatives(options: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last


def rule(annotation: Any, constraints: Iterable[Any] = ()) -> str:
    """What a field accepts, from its annotation: `a whole number, at least 1`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *extras = arguments
        fields = (e.metadata if isinstance(e, FieldInfo) else [e] for e in extras)
        return rule(inner, [c for field in fields for c in field])
    if origin is Literal:
        kind = alternatives(typed(a) for a in arguments)
    elif origin in (Union, types.UnionType):
        *others, last = arguments
        return f"{', '.join(rule(a, constraints) for a in others)}, or {rule(last)}"
    elif origin in (list, tuple):
        kind = f"a list, each {rule(arguments[0])}"
    else:
        kind = _KINDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    if annotation is str:
        return kind
    bounds = (
        text.format(getattr(c, name))
        for name, text in _BOUNDS.items()
        for c in constraints
        if getattr(c, name, None) is not None
    )
    return ", ".join([kind, *bounds])


def _meaning(field: FieldInfo) -> str:
    return f" ({field.description})" if field.description else ""


def invalid(key: str, error: ErrorDetails, field: FieldInfo | None) -> str:
    """What is wrong with one key, given pydantic's finding and the field that it is about."""
    if error["type"] == "value_error":  # raised by a settings class itself
        return f"{key}: {error['ctx']['error']}"
    if field is None:
        return f"{key}={typed(error['input'])}: {error['msg']}"
    must = f"must be {rule(field.annotation, field.metadata)}{_meaning(field)}"
    if error["type"] == "missing":
        return f"{key} is missing: {must}"
    quote = f'; quote a text that reads as something else: {key}="\'{typed(error["input"])}\'"'
    is_text = error["type"] == "string_type" and error["input"] is not None
    return f"{key}={typed(error['input'])}: {must}{quote if is_text else ''}"


def unknown_key(key: str, known: list[str]) -> str:
    """That there is no such key, and the nearest one that there is."""
    last = key.rpartition(".")[2]
    by_last = {name.rpartition(".")[2]: name for name in known}
    nearest = (
        [name for name in known if name.rpartition(".")[2] == last]
        or get_close_matches(key, known, n=1)
        or [by_last[name] for name in get_close_matches(last, by_last, n=1)]
    )
    way_out = f"did you mean {alternatives(nearest)}?" if nearest else "maml-train --help lists them"
    return f"{key}: no such key; {way_out}"


def unknown_option(group: str, value: Any, options: list[str]) -> str:
    """That a group has no such option, the nearest that it has, and all of them."""
    nearest = get_close_matches(typed(value), options, n=1)
    guess = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{group}={typed(value)}: no such {group}; {guess}There are {alternatives(options)}"
