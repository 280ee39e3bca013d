"""The configuration of a run that was begun before, to go on with it by its folder alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maml_cli.config.build import inspect
from maml_cli.config.compose import parse
from maml_cli.core.errors import CheckpointError
from maml_cli.storage.run_folder import RunFolder

MODES = ("auto", "never")
"""What `resume` is, if it is no folder."""


def require_begun(overrides: Sequence[str]) -> None:
    """Raise CheckpointError if there is nothing to go on with in DIR of `resume=DIR`."""
    folder = _resumed_folder(overrides)
    if folder is not None and not RunFolder(folder).checkpoints.is_dir():
        raise CheckpointError(
            f"resume={folder}: no checkpoint is in {RunFolder(folder).checkpoints}"
        )


def begun(config: DictConfig, overrides: Sequence[str], free: Collection[str]) -> DictConfig:
    """What `resume=DIR` goes on with: where nothing else is typed, the configuration in DIR.

    Keys that are `free` may be typed beside it, and have the values that were typed. Any other key
    means that the whole command was typed again: then it is `config`, to be compared with the
    run's. Raises CheckpointError.
    """
    typed = {parse(override).key_or_group for override in overrides}
    folder = _resumed_folder(overrides)
    if folder is None or not typed <= set(free):
        return config
    saved = saved_config(folder)
    for key in typed:
        OmegaConf.update(saved, key, OmegaConf.select(config, key))
    return saved


def saved_config(folder: Path) -> DictConfig:
    """The run's `config.yaml`; raises CheckpointError unless it is valid as it is."""
    path = RunFolder(folder).config
    try:
        config = OmegaConf.create(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise CheckpointError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(config, DictConfig):
        raise CheckpointError(f"{path}: not the configuration of a run")
    if problems := inspect(config, fallback=config)[1]:
        raise CheckpointError(
            f"{path}: not a configuration of this version of the program; use the one that trained "
            "it (its results.json names the commit), or train again",
            *problems,
        )
    return config


def _resumed_folder(overrides: Sequence[str]) -> Path | None:
    changes = [parse(override) for override in overrides]
    values = [change.value() for change in changes if change.key_or_group == "resume"]
    return Path(str(values[-1])) if values and values[-1] not in MODES else None
