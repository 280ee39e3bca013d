"""YAML of other people: plain values within limits, in which nothing is computed."""

from __future__ import annotations

from typing import Any

import yaml

from maml_cli.core.limits import CONFIG_BYTES, YAML_DEPTH, YAML_NODES, scaled, too_large

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def require_small(text: str) -> None:
    """Raise ValueError if the YAML is too long, too deep, or grows too large by its aliases."""
    most = scaled(YAML_NODES)
    if len(text) > scaled(CONFIG_BYTES):
        raise ValueError(f"it has {too_large(len(text), scaled(CONFIG_BYTES), 'characters')}")
    count, open_nodes, sizes = 0, list[tuple[str | None, int]](), dict[str, int]()
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            count += sizes.get(event.anchor, most)  # most: within itself
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        if count > most:
            raise ValueError(f"it holds {too_large(count, most, 'values')}")
        if len(open_nodes) > scaled(YAML_DEPTH):
            raise ValueError(f"it is nested {too_large(len(open_nodes), YAML_DEPTH, 'levels')}")


def read_mapping(text: str) -> dict[str, Any]:
    """The mapping of text keys that the YAML holds, as plain values.

    Raises ValueError if it holds something else, is too large, or has an interpolation (`${...}`):
    what a run stores is resolved, so there is nothing to be looked up.
    """
    try:
        require_small(text)
        content = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        said = getattr(error, "problem", None) or next(iter(str(error).splitlines()), "too deep")
        raise ValueError(f"it is no YAML{where}: {said}") from None
    if not isinstance(content, dict):
        raise ValueError("it is not the configuration of a run: no mapping of keys to values")
    _require_plain(content, "")
    return content


def _require_plain(value: Any, place: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{place or 'it'} has the key {key!r}, which is no text")
            _require_plain(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for item in value:
            _require_plain(item, place)
    elif isinstance(value, str) and "${" in value:
        raise ValueError(f"{place} has an interpolation ({value[:60]}); a run stores plain values")
    elif not isinstance(value, str | int | float | bool | None):
        raise ValueError(f"{place} is a {type(value).__name__}; a run stores plain values")
