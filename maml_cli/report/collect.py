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
from maml_cli.core.records import Results
from maml_cli.core.settings import EVAL_ARGUMENTS, flat
from maml_cli.storage.resume import FREE

NEEDED = ("algo", "dataset", "ways", "shots", "seed", "metric", "test", "test_single", "iterations")
"""A JSON file that has these is the results of a run."""
MACHINE = (*FREE, "seed", "device", "engine", "algo.recompute")
"""Settings in which runs of one protocol may differ."""


@dataclass(frozen=True)
class Run:
    """The results of one finished run, with the settings that made them."""

    file: Path
    results: Results

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def commands(self) -> list[str]:
        """The command that made the results, after that of the training if it was another."""
        first = self.results.get("trained_by")
        return [*([first] if first else []), self.results["command"]]

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What decides the numbers beside the seed: the configuration, flat.

        Where no `config.yaml` lies beside the results, that of the command lines alone.
        """
        config = self.file.with_name("config.yaml")
        if self.file.name == "results.json" and config.is_file():
            settings = flat(yaml.safe_load(config.read_text(encoding="utf-8")))
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
        return self._in_training("ways")

    @cached_property
    def train_shots(self) -> int:
        """Support examples per class in training."""
        return self._in_training("shots")

    def _in_training(self, name: str) -> int:
        """What held in training: by the results, or in older ones by the settings."""
        key = f"train_{name}"
        given = self.results.get(key, self.settings.get(key))
        return int(self.results[name] if given in (None, "null") else given)


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
                raise DataError(f"{file}: not the results of a run: name a results.json")
        configs = [] if place.is_file() else sorted(place.rglob("config.yaml"))
        begun |= {config.resolve(): config.parent for config in configs}
    done = {path.parent for path in runs}
    unfinished = [
        Unfinished(folder, state)
        for config, folder in begun.items()
        if config.parent not in done and (state := _state(folder)) is not None
    ]
    return Found(list(runs.values()), unfinished)


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the run's `metrics.jsonl`, up to the first that is cut off; none without one."""
    file = folder / "metrics.jsonl"
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:  # half a line of a run that goes on or was killed
                return


def _results(file: Path) -> Results | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if file.name == "results.json":
            raise DataError(
                f"{file}: cannot be read ({error}): repeat the run, or remove it"
            ) from None
        return None
    if isinstance(content, dict) and all(key in content for key in NEEDED):
        return content
    return None


def _candidates(folder: Path) -> list[Path]:
    """The results of runs anywhere in it, and files of any name in it, kept by hand."""
    return sorted({*folder.rglob("results.json"), *folder.glob("*.json")})


def _state(folder: Path) -> str | None:
    """`iteration 300 of 500`, by what it has written; None if the folder is not of a run."""
    train = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")).get("train")
    if not isinstance(train, dict) or "epochs" not in train:
        return None
    total = train["epochs"] * train["iterations_per_epoch"]
    last = 0
    for record in records(folder):
        last = record["iteration"]
    return f"iteration {last:,} of {total:,}"
