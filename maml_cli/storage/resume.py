"""Whether a run may be resumed: it needs the same configuration, and wants the same machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from maml_cli.core.errors import CheckpointError
from maml_cli.core.limits import CONFIG_BYTES
from maml_cli.core.plain_text import printable
from maml_cli.core.regular_files import read_text
from maml_cli.core.settings import flat
from maml_cli.core.yaml_text import read_mapping
from maml_cli.storage.files import storing
from maml_cli.storage.run_folder import RunFolder

FREE = (
    *("resume", "data_dir", "cache_dir", "download", "device", "engine", "dataset.path"),
    *("train.max_time", "train.on_nonfinite", "eval.keep", "eval.course_episodes"),
    "logger",
)
"""Keys that may differ: they do not decide the numbers of a run that goes well. Data may be moved;
`data.json` tells whether they are the same. Engines differ in rounding alone; a remark says so."""
EPOCHS, PATIENCE = "train.epochs", "train.patience"


def require_same_config(before: str, now: str, place: object) -> None:
    """Raise CheckpointError with the keys in which two resolved configurations (YAML) differ.

    A run may be trained on: `train.epochs` and `train.patience` may have grown, to null too. A key
    that only one of them has, at null or false, is one of another version, and changes nothing.
    """
    old, new = _stored(before, place), flat(read_mapping(now))
    keys = [key for key in {**old, **new} if key not in FREE]
    differing = [
        f"{key}: it has {_shown(old, key)}, now asked for is {_shown(new, key)}"
        for key in keys
        if _value(old, key) != _value(new, key) and not _trains_on(key, old.get(key), new.get(key))
    ]
    if differing:
        raise CheckpointError(
            f"{place} holds a run of another configuration; give these keys the values it has, or "
            "choose another folder with hydra.run.dir=DIR",
            *differing,
        )


def finished(output_dir: Path, config: str) -> str | None:
    """The table of the run in this folder, if it is done and is given no more epochs or patience.

    Raises CheckpointError as above.
    """
    folder = RunFolder(output_dir)
    if not folder.results.exists():
        return None
    with storing(output_dir):
        try:
            before = read_text(folder.config, CONFIG_BYTES)
            table = read_text(folder.table, CONFIG_BYTES)
        except ValueError as error:
            raise CheckpointError(f"{output_dir}: a file is no text ({error})") from error
    require_same_config(before, config, output_dir)
    shown = "".join(f"{printable(line)}\n" for line in table.split("\n")[:-1])
    old, new = _stored(before, output_dir), _stored(config, "")
    return shown if all(old.get(key) == new.get(key) for key in (EPOCHS, PATIENCE)) else None


def _trains_on(key: str, before: Any, now: Any) -> bool:
    """Whether this change lets a run train on."""
    if key == PATIENCE:
        return before is not None and (now is None or before < now)
    return key == EPOCHS and bool(before < now)


def _stored(config: str, place: object) -> dict[str, Any]:
    """The configuration, flat; raises CheckpointError."""
    try:
        return flat(read_mapping(config))
    except ValueError as error:
        raise CheckpointError(f"{place}: the configuration stored there: {error}") from error


def other_machine(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What may change the last bits of a result, such as torch's version: before, and now."""
    return {
        name: (printable(str(before.get(name))), str(value))
        for name, value in now.items()
        if before.get(name) != value
    }


def _value(config: Mapping[str, Any], key: str) -> Any:
    value = config.get(key)
    return None if value is False else value


def _shown(config: Mapping[str, Any], key: str) -> str:
    return str(yaml.safe_dump(config[key]).splitlines()[0]) if key in config else "none"
