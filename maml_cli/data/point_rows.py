"""From the rows of a CSV file to tasks: which columns are what, and which rows are one task."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from maml_cli.data.columns import Columns, Numbers
from maml_cli.data.csv_table import CsvTable, Faults
from maml_cli.data.sampler import SPLITS


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Columns of a file by what they are."""

    keys: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    split: str | None

    def __str__(self) -> str:
        key, inputs, outputs = " and ".join(self.keys), ", ".join(self.inputs), self.outputs
        return (
            f"rows with the same {key} are a task; inputs: {inputs}; outputs: {', '.join(outputs)}"
        )


class TaskPoints(NamedTuple):
    """All points of one task, `(points, inputs + outputs)`, in ascending order."""

    label: str
    points: Numbers
    line: int
    """The line of its first row."""
    split: str | None
    """None: the file does not say."""


def roles_in(
    header: Sequence[str],
    *,
    keys: Sequence[str] | None,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    split: str | None,
    trained: Columns | None,
    problems: list[str],
) -> Roles:
    """The roles of the columns, as told, else as in training, else guessed; adds problems.

    Guessed: `split` is the split, `task` or the first column is the key, `y` or the last one is the
    output, and all others are inputs.
    """
    if trained is not None:
        inputs = inputs or [column.name for column in trained.inputs]
        outputs = outputs or [column.name for column in trained.outputs]
    told = {"keys": keys or (), "inputs": inputs or (), "outputs": outputs or ()}
    told["split"] = (split,) if split else ()
    for role, names in told.items():
        if missing := [name for name in names if name not in header]:
            problems.append(
                f"dataset.{role}: there is no column {' or '.join(missing)}; the first line names "
                f"{_shown(header)}"
            )
    used = [name for names in told.values() for name in names]
    if twice := sorted({name for name in used if used.count(name) > 1}):
        problems.append(f"column {' and '.join(twice)} cannot be two things at once")

    def guess(name: str, place: int) -> list[str]:
        free = [n for n in header if n not in used]
        found = [name] if name in free else free[place:][:1]
        used.extend(found)
        return found

    if split is None and "split" in header and "split" not in used:
        split = guess("split", 0)[0]
    keys = keys or guess("task", 0)
    outputs = outputs or guess("y", -1)
    inputs = inputs or [name for name in header if name not in used]
    if not (keys and inputs and outputs):
        problems.append(
            f"the first line names {_shown(header)}, but a key, an input and an output are "
            "needed: dataset.keys, dataset.inputs and dataset.outputs name columns"
        )
    return Roles(keys=keys, inputs=inputs, outputs=outputs, split=split)


def _shown(header: Sequence[str]) -> str:
    """The columns; of one that may be several, what would have made several of it."""
    one = " (one column; commas, semicolons or tabs would separate columns)"
    return ", ".join(header) + (one if len(header) == 1 else "")


def tasks_in(table: CsvTable, roles: Roles, faults: Faults) -> list[TaskPoints]:
    """The tasks of a file by label; adds a fault for each cell that is not what it should be."""
    values = np.array([table.numbers(c, faults) for c in (*roles.inputs, *roles.outputs)]).T
    texts = [table.texts(key) for key in roles.keys]
    places: dict[tuple[str, ...], list[int]] = {}
    for place, key in enumerate(zip(*texts, strict=True)):
        empty = [name for name, text in zip(roles.keys, key, strict=True) if not text]
        faults += [(table.lines[place], f"{name} is empty") for name in empty]
        places.setdefault(key, []).append(place)
    splits = None if roles.split is None else _splits(roles.split, table, faults)
    found = []
    for key, rows in places.items():
        split = None
        if splits is not None:
            split = _one_split(key, rows, splits, table.lines, faults)
        points = values[rows]
        order = np.lexsort(points.T[::-1])
        found.append(TaskPoints(_label(key), points[order], table.lines[rows[0]], split))
    return sorted(found, key=lambda task: task.label)


def _splits(column: str, table: CsvTable, faults: Faults) -> list[str]:
    """The cells of the column; adds one fault for each text in it that is no split."""
    found = table.texts(column)
    lines: dict[str, list[int]] = {}
    for line, text in zip(table.lines, found, strict=True):
        lines.setdefault(text, []).append(line)
    for text, its in lines.items():
        if text not in SPLITS:
            rows = f", in {len(its):,} rows" if len(its) > 1 else ""
            faults.append((its[0], f"{column} is '{text}'{rows}; it must be train, val or test"))
    return found


def _one_split(
    key: Sequence[str],
    rows: Sequence[int],
    splits: Sequence[str],
    lines: Sequence[int],
    faults: Faults,
) -> str:
    first = splits[rows[0]]
    for row in rows:
        if splits[row] != first and {first, splits[row]} <= set(SPLITS):
            said = (
                f"{_label(key)} is in {splits[row]}, but in {first} in line {lines[rows[0]]}; a "
                "task must be in one split"
            )
            faults.append((lines[row], said))
    return first


def _label(key: Sequence[str]) -> str:
    """Its key; several are joined as CSV does it, so that no two tasks have the same label."""
    if len(key) == 1:
        return key[0]
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow(key)
    return file.getvalue()
