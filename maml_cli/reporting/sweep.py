"""The table of all jobs of a sweep, as far as they are done."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from maml_cli.core.files import locked, storing, write_atomically
from maml_cli.reporting.format import show_interval

HEADER = ("job", "algo", "dataset", "ways", "shots", "seed", "metric", "test")


def write_sweep_table(directory: Path) -> Path:
    """Write `table.md` with a line for each job in the folder; raises StorageError.

    Jobs that end at the same time wait for each other, so that the last one writes them all.
    """
    path = directory / "table.md"
    with locked(directory, wait=True), storing(path):
        jobs = sorted((file.parent for file in directory.rglob("config.yaml")), key=_natural)
        rows = [(str(job.relative_to(directory)), *_row(job)) for job in jobs]
        table = tabulate(rows, HEADER, tablefmt="github", disable_numparse=True)
        note = "The test metric of the ensemble after the last inner step, ± its 95 % interval."
        write_atomically(path, f"{table}\n\n{note}\n")
    return path


def _row(job: Path) -> tuple[str, ...]:
    config = yaml.safe_load((job / "config.yaml").read_text(encoding="utf-8"))
    run = [config["algo"]["name"], config["dataset"]["name"]]
    run += [str(config[key]) for key in ("ways", "shots", "seed")]
    try:
        results = json.loads((job / "results.json").read_text(encoding="utf-8"))
        mean, ci95 = (_last(results["test"][key]) for key in ("mean", "ci95"))
    except (FileNotFoundError, LookupError, TypeError, ValueError):
        return *run, "", "no result"
    return *run, results["metric"], show_interval(results["metric"], mean, ci95)


def _last(value: Any) -> float:
    """The value after the last inner step, where there is one per step."""
    return float(value[-1] if isinstance(value, list) else value)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Orders job 10 after job 9."""
    return [(int(part or -1), text) for part, text in re.findall(r"(\d*)(\D*)", str(path))]
