"""The table of all jobs of a sweep, as far as they are done."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from maml_cli.core.errors import StorageError
from maml_cli.core.limits import CONFIG_BYTES, RESULTS_BYTES
from maml_cli.core.plain_text import markdown_cell
from maml_cli.core.regular_files import read_text
from maml_cli.core.results import RunResults
from maml_cli.core.settings import flat
from maml_cli.core.yaml_text import read_mapping
from maml_cli.reporting.format import show_interval
from maml_cli.storage.files import locked, storing, write_atomically
from maml_cli.storage.run_folder import RunFolder, configs_within

COLUMNS = {
    "algo.name": "algo",
    "dataset.name": "dataset",
    **{name: name for name in ("ways", "shots", "seed")},
}
"""Keys that are always shown, and the names of their columns."""


def write_sweep_table(directory: Path) -> Path:
    """Write a table with a line for each job in the folder; raises StorageError.

    Jobs that end at the same time wait for each other, so that the last one writes them all.
    """
    path = RunFolder(directory).table
    with locked(directory, wait=True), storing(path):
        files = sorted(configs_within(directory), key=_natural)
        jobs = {file.parent: _settings(file) for file in files}
        keys = [*COLUMNS, *_swept(list(jobs.values()))]
        rows = [
            (job.relative_to(directory), *(str(config.get(key)) for key in keys), *_result(job))
            for job, config in jobs.items()
        ]
        header = ["job", *(COLUMNS.get(key, key) for key in keys), "metric", "test"]
        rows = [tuple(markdown_cell(str(cell)) for cell in row) for row in rows]
        table = tabulate(rows, header, tablefmt="github", disable_numparse=True)
        note = "The test metric of the ensemble after the last inner step, ± its 95 % interval."
        write_atomically(path, f"{table}\n\n{note}\n")
    return path


def _settings(file: Path) -> dict[str, Any]:
    """The job's configuration, flat; raises StorageError naming a file that holds none."""
    try:
        return flat(read_mapping(read_text(file, CONFIG_BYTES)))
    except ValueError as error:
        raise StorageError(
            f"{file}: is no configuration of a job ({error}); take it away"
        ) from error


def _swept(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ between jobs of the same algorithm and data set."""
    found: dict[str, None] = {}
    first_of: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for config in configs:
        first = first_of.setdefault((config.get("algo.name"), config.get("dataset.name")), config)
        found |= dict.fromkeys(key for key in config if config[key] != first.get(key))
    return [key for key in found if key not in COLUMNS]


def search_value(job: Path) -> float | None:
    """The best validation score of a finished job, or minus it where lower is better."""
    results = _results(job)
    return None if results is None else results.to_maximize


def _result(job: Path) -> tuple[str, str]:
    """The metric and its value, as far as the job is done."""
    results = _results(job)
    if results is None:
        return "", "no result"
    last = results.test.ensemble.last
    return results.metric.name, show_interval(results.metric, last.mean, last.ci95)


def _results(job: Path) -> RunResults | None:
    """The results of a finished job; None if there are none, or none that can be read."""
    try:
        return RunResults.from_json(read_text(RunFolder(job).results, RESULTS_BYTES))
    except (OSError, ValueError):
        return None


def _natural(path: Path) -> list[tuple[int, str]]:
    """Orders job 10 after job 9."""
    return [(int(part or -1), text) for part, text in re.findall(r"(\d*)(\D*)", str(path))]
