"""The runs in some folders: finished, and begun but not finished."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.results import RunResults
from maml_cli.core.settings import EVAL_ARGUMENTS
from maml_cli.report.run_files import (
    read_length,
    read_records,
    read_results,
    read_scores,
    read_settings,
)
from maml_cli.storage.resume import FREE
from maml_cli.storage.run_folder import (
    CONFIG,
    RESULTS,
    RunFolder,
    configs_within,
    folder_of,
    results_within,
)

T = TypeVar("T")
MACHINE = (*FREE, "seed", "algo.recompute")
"""Settings in which runs of one protocol may differ."""


@dataclass(frozen=True)
class Run:
    """The results of one finished run, with the settings that made them."""

    file: Path
    results: RunResults
    scores: tuple[float, ...] = ()
    """The ensemble's metric on each test episode; empty if it was not kept."""

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
        if folder is not None and os.path.lexists(folder.config):
            settings = read_settings(folder)
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
        if given in (None, "null"):
            return None
        if not str(given).isdecimal() or len(str(given)) > 9:
            raise ValueError(f"{key} is {given!r}, which is no whole number")
        return int(given)


class Unfinished(NamedTuple):
    """A run that was begun and has no results."""

    folder: Path
    state: str


class Damaged(NamedTuple):
    """A file that cannot be read, says what cannot be, or is of another program: it is left out."""

    file: Path
    reason: str

    @property
    def message(self) -> str:
        """What is wrong, and the way out."""
        return f"{self.file}: cannot be read ({self.reason}): repeat the run, or name other folders"


class Found(NamedTuple):
    """What lies in the folders."""

    runs: list[Run]
    unfinished: list[Unfinished]
    damaged: list[Damaged]


def collect(places: Sequence[Path]) -> Found:
    """All runs in these folders and files, each once; raises UsageError and DataError.

    A file that is damaged, foreign or a link is left out, and with it what depends on it.
    """
    if missing := [place for place in places if not place.exists()]:
        raise UsageError(*(f"{place}: no such file or folder" for place in missing))
    runs: dict[Path, Run] = {}
    begun: dict[Path, Path] = {}
    damaged: dict[Path, Damaged] = {}
    for place in places:
        files = [place.resolve()] if place.is_file() else _candidates(place)
        for file in files:
            results = attempted(file, partial(read_results, file), damaged)
            if results is not None and (run := _run(file, results, damaged)) is not None:
                runs[file.resolve()] = run
            elif place.is_file() and not damaged:
                raise DataError(f"{place}: not the results of a run: name a {RESULTS}")
        configs = [] if place.is_file() else sorted(configs_within(place))
        begun |= {config.resolve(): config.parent for config in configs}
    done = {path.parent for path in (*runs, *(file.resolve() for file in damaged))}
    unfinished = []
    for config, folder in begun.items():
        if config.parent not in done:
            state = attempted(folder / CONFIG, partial(_state, folder), damaged)
            unfinished += [Unfinished(folder, state)] if state else []
    return Found(list(runs.values()), unfinished, list(damaged.values()))


def attempted(file: Path, read: Callable[[], T], damaged: dict[Path, Damaged]) -> T | None:
    """What `read` finds in the file; None, and an entry in `damaged`, if it cannot be read."""
    try:
        return read()
    except OSError as error:
        reason = error.strerror or str(error)
        damaged[file] = Damaged(Path(error.filename or file), reason)
    except ValueError as error:
        damaged[file] = Damaged(file, str(error))
    return None


def _run(file: Path, results: RunResults, damaged: dict[Path, Damaged]) -> Run | None:
    """The run with its settings and scores; None if its configuration cannot be read."""
    run, folder = Run(file, results), folder_of(file)
    place = file if folder is None else folder.config
    if attempted(place, lambda: (run.settings, run.train_ways, run.train_shots), damaged) is None:
        return None
    if folder is None or not os.path.lexists(folder.scores):
        return run
    scores = attempted(
        folder.scores, lambda: read_scores(folder, results.test, results.metric.unit), damaged
    )
    return replace(run, scores=tuple(scores or ()))


def _candidates(folder: Path) -> list[Path]:
    """The results of runs anywhere in it, and files of any name in it, kept by hand.

    Other files in the folder of a run are the run's own: earlier results, scores, data.
    """
    kept = [] if RunFolder(folder).config.is_file() else folder.glob("*.json")
    return sorted({*results_within(folder), *kept})


def _state(folder: Path) -> str:
    """`iteration 300 of 500`, by the records in it; raises ValueError if it is not a run's."""
    files, last = RunFolder(folder), 0
    total = read_length(files)
    for record in read_records(files):
        last = record.integer("iteration")
    return f"iteration {last:,} of {total:,}"
