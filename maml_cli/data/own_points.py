"""Somebody's own points: some with their outputs, and inputs at which outputs are wanted."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maml_cli.core.errors import DataError
from maml_cli.core.plain_text import printable
from maml_cli.data.columns import Column, Columns, Numbers
from maml_cli.data.csv_table import read_table
from maml_cli.data.faults import refusal

GRID_POINTS = 101
"""Of one input; of several inputs a grid has at most MOST_POINTS together."""
MOST_POINTS = 1000
FEWEST_PER_INPUT = 3


class OwnPoints(NamedTuple):
    """The points of one task, in the units of their files, in the order of their rows."""

    support_x: Numbers
    """(points, inputs)"""
    support_y: Numbers
    """(points, outputs)"""
    query_x: Numbers
    query_y: Numbers | None
    """None: nobody told them."""
    remarks: tuple[str, ...]


def find_own_points(support: Path, query: Path | None, columns: Columns) -> OwnPoints:
    """The points in two CSV files with the run's columns; without `query` an even grid.

    Other columns are passed over. Where the file of the queries has all outputs, they are read too.
    Raises DataError with all that is not as it should be.
    """
    problems: list[str] = []
    remarks: list[str] = []
    inputs, outputs = columns
    given = _values(
        "support",
        support,
        needed=[*inputs, *outputs],
        welcome=[],
        problems=problems,
        remarks=remarks,
    )
    if query is not None:
        asked = _values(
            "query", query, needed=inputs, welcome=outputs, problems=problems, remarks=remarks
        )
    else:
        asked = _even_grid(inputs, problems, remarks)
    if problems:
        raise DataError(*problems)
    support_x, support_y = np.split(given, [len(inputs)], axis=1)
    query_x, query_y = np.split(asked, [len(inputs)], axis=1)
    for key, x in (("support", support_x), ("query", query_x)):
        remarks += _outside(key, x, inputs)
    known = query_y if query_y.shape[1] else None
    return OwnPoints(support_x, support_y, query_x, known, tuple(remarks))


def _even_grid(inputs: Sequence[Column], problems: list[str], remarks: list[str]) -> Numbers:
    """Points at equal distances over the trained range of each input, `(points, inputs)`.

    Adds a problem where there can be no such grid.
    """
    number, lacking = _per_input(len(inputs)), []
    if unknown := [c.name for c in inputs if c.trained is None]:
        lacking.append(f"the run knows no range of {', '.join(unknown)}")
    if constant := [c.name for c in inputs if c.constant]:
        lacking.append(f"training had one value of {', '.join(constant)}")
    if not lacking and number < FEWEST_PER_INPUT:
        lacking.append(
            f"a grid over {len(inputs)} inputs with {FEWEST_PER_INPUT} points each would have "
            f"{FEWEST_PER_INPUT ** len(inputs):,} points, above {MOST_POINTS:,}"
        )
    if lacking:
        problems.append(
            f"query=FILE.csv is missing, and {', and '.join(lacking)}: name a file of the inputs "
            "to answer"
        )
        return np.empty((0, len(inputs)))
    ranges = [column.trained for column in inputs if column.trained]
    said = [f"{c.name} from {a:.6g} to {b:.6g}" for c, (a, b) in zip(inputs, ranges, strict=True)]
    remarks.append(f"No query was given: an even grid over the trained range, {', '.join(said)}.")
    return np.array(list(product(*(np.linspace(*ends, number) for ends in ranges))))


def _values(
    key: str,
    path: Path,
    *,
    needed: Sequence[Column],
    welcome: Sequence[Column],
    problems: list[str],
    remarks: list[str],
) -> Numbers:
    """The needed columns of a file, and if it has all of them the welcome ones; adds problems."""
    where, faults = f"{key}={path}", list[tuple[int, str]]()
    try:
        table = read_table(key, path, faults)
    except DataError as error:
        problems += error.messages
        return np.empty((0, len(needed)))
    names = [column.name for column in needed]
    if missing := [name for name in names if name not in table.header]:
        problems.append(
            f"{where}: has no column {' or '.join(missing)}; the first line names "
            f"{', '.join(map(printable, table.header))}, and the run needs {', '.join(names)}: "
            "rename a column, or add it"
        )
        return np.empty((0, len(needed)))
    if all(column.name in table.header for column in welcome):
        names += [column.name for column in welcome]
    values: Numbers = np.array([table.numbers(name, faults) for name in names]).T
    if faults:
        said = [f"{where}: line {line}: {printable(fault)}" for line, fault in sorted(faults)]
        problems += refusal(said, f"{where}: correct these rows or take them away")
    elif not table.rows:
        problems.append(f"{where}: has no rows below its first line: add one for each point")
    if left := [printable(name) for name in table.header if name not in names]:
        remarks.append(f"Columns of {key} that were not used: {', '.join(left)}.")
    return values


def _per_input(inputs: int) -> int:
    """How many grid points an input has, so that all together are not too many."""
    if inputs == 1:
        return GRID_POINTS
    number = 1
    while (number + 1) ** inputs <= MOST_POINTS:
        number += 1
    return number


def _outside(key: str, x: Numbers, inputs: Sequence[Column]) -> list[str]:
    """That points lie where training had none, a sentence for each input with a known range."""
    remarks = []
    for column, values in zip(inputs, x.T, strict=True):
        if column.trained is None:
            continue
        low, high = column.trained
        outside = (values < low) | (values > high)
        if outside.any():
            remarks.append(
                f"{outside.sum()} of {len(values)} points of {key} lie outside of the trained "
                f"range of {column.name}, {low:.6g} to {high:.6g}: they reach from "
                f"{values.min():.6g} to {values.max():.6g}. Predictions there are guesses, and "
                "bands are too narrow or too wide."
            )
    return remarks
