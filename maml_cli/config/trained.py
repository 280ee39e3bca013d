"""The configuration that a run was trained with, and the changes that its use may make to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from maml_cli.config import messages
from maml_cli.config.begun import saved_config
from maml_cli.config.build import inspect
from maml_cli.config.check import group_problem, setting_problem, unreadable
from maml_cli.config.compose import Composer, keys, parse
from maml_cli.config.module_path import named_folders
from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import DatasetSettings, Experiment
from maml_cli.core.settings import OfProblems
from maml_cli.storage.run_folder import CONFIG, RunFolder, meant


def trained_experiment(
    folder: Path,
    overrides: Sequence[str],
    *,
    changeable: Sequence[str],
    others: Sequence[str],
    command: str,
    decided: Sequence[str] = (),
) -> Experiment:
    """The experiment that the run in the folder is, with these overrides.

    `changeable` names the keys and groups that may be overridden, `dataset.*` every key of dataset
    but those that are `decided`; `others` are the command's own keys, which may have been meant by
    a misspelt one. Raises UsageError with all that is wrong, or CheckpointError if the folder's own
    configuration cannot be used.
    """
    composer = Composer()
    saved = _saved(folder)
    problems, groups, settings = [], [], []
    for override in overrides:
        try:
            change = parse(override)
        except UsageError as error:
            problems.append(unreadable(override, error))
            continue
        if problem := _refused(change, keys(saved), changeable, others, decided):
            problems.append(problem)
        elif options := composer.options(change.key_or_group):
            groups.append((change, options))
        else:
            settings.append(change)
    for change, options in groups:
        if problem := group_problem(change, options):
            problems.append(problem)
        else:
            group = change.key_or_group
            asked = composer.compose([str(change.input_line)])[group]
            if asked.get("_target_") != saved[group].get("_target_"):
                saved = _with_data(saved, asked)
    config = saved.copy()
    problems += filter(None, [setting_problem(config, change) for change in settings])
    experiment, found = inspect(config, fallback=saved, command=command, folders=named_folders())
    if experiment is None or problems or found:
        raise UsageError(*problems, *found)
    return experiment


def _saved(folder: Path) -> DictConfig:
    """The run's `config.yaml`, as it was before any override."""
    if not os.path.lexists(RunFolder(folder).config):
        runs = sorted(file.parent.name for file in folder.glob(f"*/{CONFIG}"))
        inside = f"; in it are the runs {messages.alternatives(runs[:5])}" if runs else ""
        raise UsageError(
            f"run={folder}: no run is there (it has no {CONFIG}){inside or meant('run', folder)}"
        )
    return saved_config(folder)


def _with_data(saved: DictConfig, asked: DictConfig) -> DictConfig:
    """The configuration with another data set, whose pictures are as large as the run's.

    Raises UsageError if a run of curves would be tested on classes, or the other way round.
    """
    changed = saved.copy()
    changed["dataset"] = asked
    before, after = (inspect(c, fallback=c, folders=named_folders())[0] for c in (saved, changed))
    if before is not None:
        if after is not None:  # else what is wrong with it is said later
            _require_same_kind(before.dataset, after.dataset)
        _as_the_network_needs(changed["dataset"], before.dataset)
    return changed


def _require_same_kind(trained: DatasetSettings, asked: DatasetSettings) -> None:
    if _kind(asked) != _kind(trained):
        raise UsageError(
            f"dataset={asked.name} has {_kind(asked)}, but the run was trained on {trained.name}, "
            f"which has {_kind(trained)}: choose another dataset"
        )


def _kind(dataset: DatasetSettings) -> str:
    from maml_cli.data.columns import CurveDataset

    if isinstance(dataset, OfProblems):
        return "optimisation problems"
    return "curves" if isinstance(dataset, CurveDataset) else "classes"


def _as_the_network_needs(asked: DictConfig, trained: DatasetSettings) -> None:
    """Give another data set of pictures the size and channels that the run was trained with."""
    from maml_cli.data.inventory import ImageDataset

    if not isinstance(trained, ImageDataset):
        return
    channels, size, _ = trained.picture_form().shape
    needed = {"image_size": size, "channels": channels}
    changed = {key: n for key, n in needed.items() if key in asked and asked[key] != n}
    asked.update(changed)
    if changed:
        said = " ".join(f"dataset.{key}={n}" for key, n in changed.items())
        sys.stderr.write(f"note: {said}, as the run's network was trained\n")


def _refused(
    change: Override,
    known: Sequence[str],
    changeable: Sequence[str],
    others: Sequence[str],
    decided: Sequence[str],
) -> str | None:
    """Why this key may not be overridden, if so."""
    key = change.key_or_group
    if change.is_sweep_override():
        return f"{change.input_line}: several values; give one, and repeat the command for others"
    section, _, name = key.rpartition(".")
    if key in decided and key in known:
        return f"{change.input_line}: the run decides it; a test is of the run's own split"
    if key in changeable or (name and f"{section}.*" in changeable):
        return None
    if key in known:
        what = messages.alternatives(changeable).replace(" or ", " and ")
        return f"{change.input_line}: the run decides it; free are {what}"
    free = [k for k in known if k in changeable or f"{k.rpartition('.')[0]}.*" in changeable]
    return messages.unknown_key(key, [*others, *free])
