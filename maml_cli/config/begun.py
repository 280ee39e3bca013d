"""The configuration of a run that was begun before, to go on with it by its folder alone."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maml_cli.config.build import inspect
from maml_cli.config.compose import parse
from maml_cli.config.module_path import named_folders
from maml_cli.core.errors import CheckpointError
from maml_cli.core.limits import CONFIG_BYTES
from maml_cli.core.plain_text import printable
from maml_cli.core.regular_files import read_text
from maml_cli.core.yaml_text import read_mapping
from maml_cli.storage.files import require_own_files
from maml_cli.storage.run_folder import RunFolder

USERS_OWN = ("data_dir", "cache_dir", "download", "device")
"""Keys whose values are never taken from a run: where it reads and writes, and on what."""
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
    saved = saved_config(folder, config)
    for key in typed:
        OmegaConf.update(saved, key, OmegaConf.select(config, key))
    return saved


def saved_config(folder: Path, own: DictConfig) -> DictConfig:
    """The run's `config.yaml`, but for what is the user's `own`.

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
    for key in USERS_OWN:
        if config.get(key) != own[key]:
            _say(key, config.get(key), own[key])
        config[key] = own[key]
    if problems := inspect(config, fallback=config, folders=named_folders())[1]:
        raise CheckpointError(
            f"{path}: not a configuration of this version of the program; use the one that trained "
            "it (its results.json names the commit), or train again",
            *problems,
        )
    return config


def _say(key: str, before: object, now: object) -> None:
    """That the user's own value is taken, where that may matter."""
    if key in ("data_dir", "device", "download"):
        shown = printable(str(before))
        sys.stderr.write(f"note: {key}={now} is yours; the run had {key}={shown}\n")


def _resumed_folder(overrides: Sequence[str]) -> Path | None:
    changes = [parse(override) for override in overrides]
    values = [change.value() for change in changes if change.key_or_group == "resume"]
    return Path(str(values[-1])) if values and values[-1] not in MODES else None
