"""The configuration of a run that was begun before, to go on with it by its folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import get_args

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from maml_cli.config.build import COMPONENTS, SETTINGS, inspect
from maml_cli.config.check import group_problem, setting_problem
from maml_cli.config.compose import Composer, parse
from maml_cli.config.messages import fields
from maml_cli.config.module_path import lost_modules
from maml_cli.core.errors import CheckpointError, UsageError
from maml_cli.storage.run_folder import RunFolder

MODES = ("auto", "never")
"""What `resume` is, if it is no folder."""


def require_begun(overrides: Sequence[str]) -> None:
    """Raise CheckpointError if there is nothing to go on with in DIR of `resume=DIR`."""
    folder = resumed_folder(overrides)
    if folder is not None and not RunFolder(folder).checkpoints.is_dir():
        raise CheckpointError(
            f"resume={folder}: no checkpoint is in {RunFolder(folder).checkpoints}"
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
    problems = [*filter(None, found), *inspect(config, fallback=saved)[1]]
    if problems:
        raise UsageError(*dict.fromkeys(problems))
    return config


def saved_config(folder: Path) -> DictConfig:
    """The run's `config.yaml`; raises CheckpointError unless it is valid as it is."""
    path = RunFolder(folder).config
    try:
        config = OmegaConf.create(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise CheckpointError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(config, DictConfig):
        raise CheckpointError(f"{path}: not the configuration of a run")
    if lost := lost_modules(config.get(name) for name in COMPONENTS):
        raise UsageError(*(f"{path}: {problem}" for problem in lost))
    _fill(config)
    if problems := inspect(config, fallback=config)[1]:
        raise CheckpointError(
            f"{path}: not a configuration of this version of the program; use the one that trained "
            "it (its results.json names the commit), or train again",
            *problems,
        )
    return config


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
