"""The runs in some folders: finished, and begun but not finished."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.results import RunResults
from maml_cli.core.settings import EVAL_ARGUMENTS, flat
from maml_cli.storage.resume import FREE
from maml_cli.storage.run_folder import (
    RESULTS,
    RunFolder,
    configs_within,
    folder_of,
    results_within,
)

TELLING = (
    "algo",
    "dataset",
    "ways",
    "shots",
    "seed",
    "metric",
    "test",
    "test_single",
    "iterations",
)
"""A JSON file with these entries holds the results of a run, whatever it is called."""
MACHINE = (*FREE, "seed", "device", "engine", "algo.recompute")
"""Settings in which runs of one protocol may differ."""


@dataclass(frozen=True)
class Run:
    """The results of one finished run, with the settings that made them."""

    file: Path
    results: RunResults

    @property
    def folder(self) -> Path:
        """Where the results lie."""
        return self.file.parent

    @property
    def whole_folder(self) -> RunFolder | None:
        """The folder with the run's other files; None for a copy of the results alone."""
        return folder_of(self.file)

    @property
    def commands(self) -> list[str]:
        """The command that made the results; before it the training's, if that was another."""
        retest = self.results.retest
        trained = [retest.trained_by] if retest is not None and retest.trained_by else []
        return [*trained, self.results.protocol.command]

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What decides the numbers beside the seed: the configuration, flat.

        Where no configuration lies beside the results, the settings of the command lines alone.
        """
        folder = self.whole_folder
        if folder is not None and folder.config.is_file():
            settings = flat(yaml.safe_load(folder.config.read_text(encoding="utf-8")))
        else:
            overrides = [word for line in self.commands for word in shlex.split(line)[1:]]
            settings = dict(override.partition("=")[::2] for override in overrides)
        return {
            key: value
            for key, value in settings.items()
            if key not in (*MACHINE, *EVAL_ARGUMENTS) and not key.startswith("hydra.")
        }

    @cached_property
    def train_ways(self) -> int:
        """Classes per episode in training."""
        protocol = self.results.protocol
        return protocol.train_ways or self._set("train_ways") or protocol.ways

    @cached_property
    def train_shots(self) -> int:
        """Support examples per class in training."""
        protocol = self.results.protocol
        return protocol.train_shots or self._set("train_shots") or protocol.shots

    def _set(self, key: str) -> int | None:
        """A whole number among the settings, for results that did not record it."""
        given = self.settings.get(key)
        return None if given in (None, "null") else int(given)


class Unfinished(NamedTuple):
    """A run that was begun and has no results, or none that can be read."""

    folder: Path
    state: str


class Found(NamedTuple):
    """What lies in the folders."""

    runs: list[Run]
    unfinished: list[Unfinished]


def collect(places: Sequence[Path]) -> Found:
    """All runs in these folders and files, each once; raises UsageError and DataError."""
    if missing := [place for place in places if not place.exists()]:
        raise UsageError(*(f"{place}: no such file or folder" for place in missing))
    runs: dict[Path, Run] = {}
    begun: dict[Path, Path] = {}
    for place in places:
        files = [place] if place.is_file() else _candidates(place)
        for file in files:
            if (results := _results(file)) is not None:
                runs[file.resolve()] = Run(file, results)
            elif file == place:
                raise DataError(f"{file}: not the results of a run: name a {RESULTS}")
        configs = [] if place.is_file() else sorted(configs_within(place))
        begun |= {config.resolve(): config.parent for config in configs}
    done = {path.parent for path in runs}
    unfinished = [
        Unfinished(folder, state)
        for config, folder in begun.items()
        if config.parent not in done and (state := _state(folder)) is not None
    ]
    return Found(list(runs.values()), unfinished)


def records(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """The records of training and validation, up to the first that is cut off; none without any."""
    if not folder.metrics.is_file():
        return
    with folder.metrics.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:  # half a line of a run that goes on or was killed
                return


def _results(file: Path) -> RunResults | None:
    """The results in the file; None if it holds something else. Raises DataError if damaged."""
    own = folder_of(file) is not None
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError) as error:
        if own:
            raise _damaged(file, error) from None
        return None
    telling = [key for key in TELLING if isinstance(content, dict) and key in content]
    if len(telling) < (1 if own else len(TELLING)):
        return None
    try:
        return RunResults.from_json(text)
    except ValueError as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"{file}: cannot be read ({error}): repeat the run, or remove it")


def _candidates(folder: Path) -> list[Path]:
    """The results of runs anywhere in it, and files of any name in it, kept by hand."""
    return sorted({*results_within(folder), *folder.glob("*.json")})


def _state(folder: Path) -> str | None:
    """`iteration 300 of 500`, by the records in it; None if the folder is not a run's."""
    files = RunFolder(folder)
    train = yaml.safe_load(files.config.read_text(encoding="utf-8")).get("train")
    if not isinstance(train, dict) or "epochs" not in train:
        return None
    total = train["epochs"] * train["iterations_per_epoch"]
    last = 0
    for record in records(files):
        last = record["iteration"]
    return f"iteration {last:,} of {total:,}"
