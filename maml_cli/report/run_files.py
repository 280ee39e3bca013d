"""The files of a run as a report reads them: whatever is in them, they are checked first.

Each reader raises ValueError or OSError that says what is wrong with its file.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maml_cli.core.json_text import JsonObject, parsed
from maml_cli.core.limits import (
    CONFIG_BYTES,
    METRICS_BYTES,
    METRICS_LINE_BYTES,
    PNG_BYTES,
    RESULTS_BYTES,
    scaled,
    too_large,
)
from maml_cli.core.regular_files import open_regular, read_regular, read_text
from maml_cli.core.results import EvaluationResult, RunResults
from maml_cli.core.settings import flat
from maml_cli.core.yaml_text import read_mapping
from maml_cli.storage.run_folder import RunFolder, folder_of

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
AGREEMENT = 1e-6
"""Two means of the same scores differ by rounding alone; relative."""
PNG = b"\x89PNG\r\n\x1a\n"


def read_results(file: Path) -> RunResults | None:
    """The results in the file; None if it is called otherwise and holds something else."""
    own = folder_of(file) is not None
    try:
        text = read_text(file, RESULTS_BYTES)
        content = parsed(text)
    except (OSError, ValueError):
        if own:
            raise
        return None
    missing = [key for key in TELLING if not isinstance(content, dict) or key not in content]
    if len(missing) == len(TELLING) and own:
        raise ValueError(f"it is of another program: it has none of {', '.join(TELLING)}")
    if missing and not own:
        return None
    return RunResults.from_json(text)


def read_settings(folder: RunFolder) -> dict[str, Any]:
    """The configuration, flat."""
    return flat(read_mapping(read_text(folder.config, CONFIG_BYTES)))


def read_length(folder: RunFolder) -> int:
    """The iterations of the whole training."""
    train = read_mapping(read_text(folder.config, CONFIG_BYTES)).get("train")
    if not isinstance(train, dict) or "epochs" not in train:
        raise ValueError("it is of another program: it has no train.epochs")
    entries = JsonObject(train, "train")
    return entries.integer("epochs") * entries.integer("iterations_per_epoch")


def read_scores(folder: RunFolder, test: EvaluationResult, unit: str) -> list[float]:
    """The ensemble's metric on each test episode, which must be those of the results."""
    entries = JsonObject.parse(read_text(folder.scores, RESULTS_BYTES))
    for name, course in (("ensemble", test.ensemble), ("single", test.single)):
        scores, stored = np.array(entries.numbers(name)), course.last.mean
        if len(scores) != test.episodes:
            raise ValueError(
                f"{name} has {len(scores)} scores, but {folder.results.name} says {test.episodes} "
                "episodes"
            )
        if unit == "%" and ((scores < 0) | (scores > 1)).any():
            raise ValueError(f"{name} has scores that are not between 0 and 1")
        mean = float(scores.mean())
        if not math.isclose(mean, stored, rel_tol=AGREEMENT, abs_tol=AGREEMENT) and (
            math.isfinite(mean) or math.isfinite(stored)
        ):
            raise ValueError(
                f"{name} has the mean {mean:.6g}, but {folder.results.name} says {stored:.6g}"
            )
    return entries.numbers("ensemble")


def read_records(folder: RunFolder) -> Iterator[JsonObject]:
    """The records of training and validation, up to the first that is cut off; none without any."""
    try:
        lines = open_regular(folder.metrics)
    except FileNotFoundError:
        return
    longest, most, size = scaled(METRICS_LINE_BYTES), scaled(METRICS_BYTES), 0
    with lines:
        while line := lines.readline(longest + 1):
            size += len(line)
            if len(line) > longest or size > most:
                raise ValueError(f"a line, or all, has {too_large(size, min(longest, most))}")
            try:
                content = parsed(line.decode())
            except ValueError:  # half a line of a run that goes on or was killed
                return
            yield JsonObject(content)


def read_picture(file: Path) -> bytes | None:
    """A PNG picture of the run; None if there is none."""
    try:
        content = read_regular(file, PNG_BYTES)
    except FileNotFoundError:
        return None
    if not content.startswith(PNG):
        raise ValueError("it is no PNG picture")
    return content


def read_rates(record: JsonObject) -> Mapping[str, list[float]]:
    """The learned inner rates by tensor; each has as many steps."""
    rates = record.numbers_by_name("inner_rates")
    if len({len(values) for values in rates.values()} | {0}) > 2:
        raise ValueError(f"{record.name('inner_rates')} has lists of different lengths")
    return {name: values for name, values in rates.items() if values}
