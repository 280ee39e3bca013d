"""The table of all jobs of a sweep, as far as they are done."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from maml_cli.core.settings import flat
from maml_cli.reporting.format import show_interval
from maml_cli.storage.files import locked, storing, write_atomically

COLUMNS = {
    "algo.name": "algo",
    "dataset.name": "dataset",
    **{name: name for name in ("ways", "shots", "seed")},
}
"""Keys that are always shown, and the names of their columns."""


def write_sweep_table(directory: Path) -> Path:
    """Write `table.md` with a line for each job in the folder; raises StorageError.

    Jobs that end at the same time wait for each other, so that the last one writes them all.
    """
    path = directory / "table.md"
    with locked(directory, wait=True), storing(path):
        files = sorted(directory.rglob("config.yaml"), key=_natural)
        jobs = {
            file.parent: flat(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files
        }
        keys = [*COLUMNS, *_swept(list(jobs.values()))]
        rows = [
            (job.relative_to(directory), *(str(config.get(key)) for key in keys), *_result(job))
            for job, config in jobs.items()
        ]
        header = ["job", *(COLUMNS.get(key, key) for key in keys), "metric", "test"]
        table = tabulate(rows, header, tablefmt="github", disable_numparse=True)
        note = "The test metric of the ensemble after the last inner step, ± its 95 % interval."
        write_atomically(path, f"{table}\n\n{note}\n")
    return path


def _swept(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that jobs of the same algorithm and data set do not agree on."""
    found: dict[str, None] = {}
    alike: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for config in configs:
        first = alike.setdefault((config["algo.name"], config["dataset.name"]), config)
        found |= dict.fromkeys(key for key in config if config[key] != first.get(key))
    return [key for key in found if key not in COLUMNS]


def search_value(job: Path) -> float | None:
    """The best validation score of a finished job, or minus it where less is better."""
    value: float | None = _results(job).get("val", {}).get("to_maximize")
    return value


def _result(job: Path) -> tuple[str, str]:
    """The metric and its value, as far as the job is done."""
    results = _results(job)
    try:
        mean, ci95 = (_last(results["test"][key]) for key in ("mean", "ci95"))
    except (LookupError, TypeError, ValueError):
        return "", "no result"
    return results["metric"], show_interval(results["metric"], mean, ci95)


def _results(job: Path) -> dict[str, Any]:
    """The results of a finished job; empty if there are none, or none that can be read."""
    try:
        results = json.loads((job / "results.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return results if isinstance(results, dict) else {}


def _last(value: Any) -> float:
    """The value after the last inner step, where there is one per step."""
    return float(value[-1] if isinstance(value, list) else value)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Orders job 10 after job 9."""
    return [(int(part or -1), text) for part, text in re.findall(r"(\d*)(\D*)", str(path))]
