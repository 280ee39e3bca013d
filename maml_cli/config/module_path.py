"""Where modules of the user's own are found: the current folder, and each --module-path."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from maml_cli.core.errors import UsageError

FLAG = "--module-path"


# Also for the workers of a sweep.
_NAMED = "MAML_MODULE_PATHS"
_STARTED_IN = "MAML_STARTED_IN"


def named_folders() -> list[Path]:
    """Those of `--module-path`: the code of a run, which may be another person's, may lie there."""
    return [Path(folder) for folder in os.environ.get(_NAMED, "").split(os.pathsep) if folder]


def own_folders() -> list[Path]:
    """And the one in which the command was typed: for what is typed, and the YAML files chosen."""
    started = os.environ.get(_STARTED_IN)
    return [*named_folders(), *([Path(started)] if started else [])]


def split_module_paths(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without `--module-path FOLDER`, and the folders; raises UsageError."""
    rest: list[str] = []
    paths: list[str] = []
    remaining: Iterator[str] = iter(words)
    for word in remaining:
        flag, equals, value = word.partition("=")
        if flag != FLAG:
            rest.append(word)
            continue
        path: str = value if equals else next(remaining, "")
        if not Path(path).expanduser().is_dir():
            raise UsageError(f"{FLAG} {path}: is no folder; give the folder that has the module")
        paths.append(path)
    return rest, paths


def use_module_paths(paths: Sequence[str]) -> None:
    """Let imports find modules in these folders and in the current one, also in child processes.

    They come last, so that no file there takes the place of an installed package.
    """
    own = [Path(path).expanduser().resolve() for path in paths]
    os.environ[_NAMED] = os.pathsep.join(map(str, own))
    os.environ[_STARTED_IN] = str(Path.cwd())
    folders = [str(folder) for folder in (*own, Path.cwd())]
    sys.path += [folder for folder in folders if folder not in sys.path]
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    wanted = [*filter(None, inherited), *(f for f in folders[:-1] if f not in inherited)]
    if wanted:
        os.environ["PYTHONPATH"] = os.pathsep.join(wanted)


def lost_modules(parts: Iterable[Any]) -> list[str]:
    """One sentence for each part of a configuration whose module is not found."""
    problems = []
    for name in _modules(parts):
        try:
            lost = find_spec(name.partition(".")[0]) is None
        except (ImportError, ValueError):
            lost = True
        if lost:
            problems.append(
                f"{name}: no module {name.partition('.')[0]} is found; cd to the folder that has "
                f"it, or name that folder with {FLAG} DIR"
            )
    return problems


def needs_current_folder(parts: Iterable[Any]) -> bool:
    """Whether a module of these parts comes from the current folder."""
    here = Path.cwd()
    for name in _modules(parts):
        top = name.partition(".")[0]
        file = getattr(sys.modules.get(top), "__file__", None)
        if file and top != __name__.partition(".")[0] and Path(file).parent in (here, here / top):
            return True
    return False


def _modules(parts: Iterable[Any]) -> list[str]:
    """What the parts import: the class of their settings, and a network of one's own."""
    found = []
    for part in parts:
        for key in ("_target_", "module"):
            value = part.get(key) if isinstance(part, Mapping) else None
            if isinstance(value, str) and "." in value:
                found.append(value)
    return found
