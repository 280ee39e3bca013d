"""The configuration of a run that was begun before, to go on with it by its folder alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from maml_cli.config.build import COMPONENTS, SETTINGS, inspect
from maml_cli.config.check import group_problem, setting_problem
from maml_cli.config.compose import Composer, parse
from maml_cli.config.messages import fields
from maml_cli.config.module_path import lost_modules, named_folders
from maml_cli.config.trust import Untrusted
from maml_cli.core.errors import CheckpointError, UsageError
from maml_cli.core.limits import CONFIG_BYTES
from maml_cli.core.plain_text import printable
from maml_cli.core.regular_files import read_text
from maml_cli.core.yaml_text import read_mapping
from maml_cli.storage.files import require_own_files
from maml_cli.storage.run_folder import RunFolder, meant

USERS_OWN = ("data_dir", "cache_dir", "download", "device")
"""Keys whose values are never taken from a run: where it reads and writes, and on what."""
ENVIRONMENT = ("MAML_DATA_DIR", "MAML_CACHE_DIR", "HOME")
SHOWN = 100
"""So many characters of a value that is not taken are said."""
MODES = ("auto", "never")
"""What `resume` is, if it is no folder."""


def require_begun(overrides: Sequence[str]) -> None:
    """Raise CheckpointError if there is nothing to go on with in DIR of `resume=DIR`."""
    folder = resumed_folder(overrides)
    if folder is not None and not RunFolder(folder).checkpoints.is_dir():
        raise CheckpointError(
            f"resume={folder}: no checkpoint is in {RunFolder(folder).checkpoints}"
            f"{meant('resume', folder)}"
        )


def beside_resume(overrides: Sequence[str]) -> list[str] | None:
    """What is typed beside `resume=DIR`, to be compared with the run's configuration.

    None without `resume=DIR`, and where groups are typed that the run does not have: then the whole
    command was typed again. A group that the run has changes nothing.
    """
    folder = resumed_folder(overrides)
    if folder is None:
        return None
    composer, saved, typed = Composer(), saved_config(folder), []
    for override in overrides:
        change = parse(override)
        key = change.key_or_group
        if key == "resume" or change.is_hydra_override():
            continue
        options = composer.options(key)
        if not options:
            typed.append(override)
            continue
        if key not in COMPONENTS or group_problem(change, options):
            return None
        asked = composer.compose([override])[key]
        if asked.get("name") != saved[key].get("name"):
            return None
    return typed


def changed(folder: Path, typed: Sequence[str]) -> DictConfig:
    """The configuration of the run in the folder, with what is typed beside `resume=DIR`.

    Raises CheckpointError, or UsageError with all that is wrong with what is typed.
    """
    saved = saved_config(folder)
    config = saved.copy()
    config.resume = str(folder)
    found = [setting_problem(config, parse(override)) for override in typed]
    problems = [*filter(None, found), *inspect(config, fallback=saved, folders=named_folders())[1]]
    if problems:
        raise UsageError(*dict.fromkeys(problems))
    return config


def saved_config(folder: Path) -> DictConfig:
    """The run's `config.yaml`, but for what is the user's own.

    It may be another person's: it is read as plain values, and no code is imported but the
    program's and that of a `--module-path`. Raises CheckpointError unless it is valid as it is.
    """
    path = RunFolder(folder).config
    require_own_files(RunFolder(folder))
    try:
        config = OmegaConf.create(read_mapping(read_text(path, CONFIG_BYTES)))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, OmegaConfBaseException) as error:
        raise CheckpointError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    for key, value in _own(tuple(os.environ.get(name) for name in ENVIRONMENT)).items():
        if key in config and config[key] != value:
            _say(key, str(config.get(key))[:SHOWN], str(value))
        config[key] = value
    if lost := lost_modules(config.get(name) for name in COMPONENTS):
        raise UsageError(*(f"{path}: {problem}" for problem in lost))
    _fill(config)
    try:
        problems = inspect(config, fallback=config, folders=named_folders())[1]
    except Untrusted as error:
        raise CheckpointError(*(f"{path}: {message}" for message in error.messages)) from None
    if problems:
        raise CheckpointError(
            f"{path}: not a configuration of this version of the program; use the one that trained "
            "it (its results.json names the commit), or train again",
            *problems,
        )
    return config


@cache
def _own(_: tuple[str | None, ...]) -> dict[str, Any]:
    """The user's own values, which depend on the environment and on the program's YAML alone."""
    composed = Composer().compose([])
    return {key: composed[key] for key in USERS_OWN}


@cache  # once
def _say(key: str, before: str, now: str) -> None:
    """That the user's own value is taken, where that may matter."""
    if key in ("data_dir", "device", "download"):
        line = f"note: {key}={now} is yours; the run had {key}={printable(before)}"
        sys.stderr.write(f"{line}\n")


def _fill(config: DictConfig) -> None:
    """Give keys that later versions have added the values by which nothing changes.

    A key of every run is null, if it may be. A key of an algorithm, data set or network has the
    value in its YAML: a new part is off there.
    """
    composer = Composer()
    for group in COMPONENTS:
        node = config.get(group)
        name = node.get("name") if isinstance(node, DictConfig) else None
        if name not in composer.options(group):
            continue
        shipped = composer.compose([f"{group}={name}"])[group]
        if shipped.get("_target_") == node.get("_target_"):
            with open_dict(node):
                node.update({key: shipped[key] for key in shipped if key not in node})
    for section, settings in SETTINGS.items():
        node = config if section == "run" else config.get(section)
        if not isinstance(node, DictConfig):
            continue
        with open_dict(node):
            for name, field in fields(settings).items():
                if name not in node and NoneType in get_args(field.annotation):
                    node[name] = None


def resumed_folder(overrides: Sequence[str]) -> Path | None:
    """DIR of `resume=DIR`; None if the run is a new one, or one that is in its folder already."""
    changes = [parse(override) for override in overrides]
    values = [change.value() for change in changes if change.key_or_group == "resume"]
    return Path(str(values[-1])) if values and values[-1] not in MODES else None
