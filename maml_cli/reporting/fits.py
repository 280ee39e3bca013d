"""The predicted outputs of points: a table for the terminal, for `table.md` and as CSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from maml_cli.core.plain_text import csv_cell, markdown_cell
from maml_cli.reporting.terminal_table import TerminalTable

SHOWN = 21
"""How many points a table has; the CSV file has them all."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Predictions for points of one task, in the units of the user's files."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    x: Numbers
    """(points, inputs)"""
    mean: Numbers
    """(points, outputs)"""
    samples: Numbers
    """(samples, points, outputs): what the prediction is the mean of."""
    bands: Numbers | None
    """(4, points, outputs): the ends of the central 90 and 50 % bands, ascending; None: unknown."""
    truth: Numbers | None
    """(points, outputs), where it is known."""

    @property
    def spread(self) -> Numbers | None:
        """The standard deviation of the samples, `(points, outputs)`; None if there is one."""
        if len(self.samples) == 1:
            return None
        spread: Numbers = self.samples.std(0, ddof=1)
        return spread


def score(fit: Fit) -> list[str]:
    """A sentence for each output whose truth is known."""
    if fit.truth is None:
        return []
    said = []
    for place, name in enumerate(fit.outputs):
        truth = fit.truth[:, place]
        error = float(np.sqrt(np.square(fit.mean[:, place] - truth).mean()))
        inside = ""
        if fit.bands is not None:
            low, lower, upper, high = fit.bands[..., place]
            in_90, in_50 = (
                f"{((a <= truth) & (truth <= b)).sum()} of {len(truth)}"
                for a, b in ((low, high), (lower, upper))
            )
            inside = f"; in the 90 % band {in_90}, in the 50 % band {in_50}"
        said.append(f"{name}: root mean squared error {error:.4g}{inside}.")
    return said


def csv_text(fit: Fit) -> str:
    """A row per point: its inputs, and for each output truth, mean, spread and the bands' ends."""
    columns = [*zip(fit.inputs, fit.x.T, strict=True)]
    for place, name in enumerate(fit.outputs):
        if fit.truth is not None:
            columns.append((name, fit.truth[:, place]))
        columns.append((f"{name} mean", fit.mean[:, place]))
        if fit.spread is not None:
            columns.append((f"{name} spread", fit.spread[:, place]))
        if fit.bands is not None:
            ends = ("90 % low", "50 % low", "50 % high", "90 % high")
            columns += [
                (f"{name} {end}", values)
                for end, values in zip(ends, fit.bands[..., place], strict=True)
            ]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names, values = zip(*columns, strict=True)
    writer.writerow(map(csv_cell, names))
    writer.writerows([f"{value:.9g}" for value in row] for row in zip(*values, strict=True))
    return file.getvalue()


def markdown(fit: Fit) -> str:
    """The same as a table, with the bands as intervals; of many points some, evenly spaced."""
    rows = [list(map(markdown_cell, row)) for row in _rows(fit)]
    header = list(map(markdown_cell, _header(fit)))
    return str(tabulate(rows, header, tablefmt="github", disable_numparse=True))


def terminal_table(fit: Fit) -> TerminalTable:
    """The same for a terminal."""
    return TerminalTable(_header(fit), list(_rows(fit)))


def shown(fit: Fit) -> Sequence[int]:
    """The points that a table has, by number."""
    points = len(fit.x)
    if points <= SHOWN:
        return range(points)
    numbers: list[int] = np.linspace(0, points - 1, SHOWN).round().astype(int).tolist()
    return numbers


def _header(fit: Fit) -> list[str]:
    names = list(fit.inputs)
    for name in fit.outputs:
        names += [name] if fit.truth is not None else []
        names += [f"{name} mean"]
        names += [f"{name} spread"] if fit.spread is not None else []
        names += [f"{name} 50 % band", f"{name} 90 % band"] if fit.bands is not None else []
    return names


def _rows(fit: Fit) -> Iterator[list[str]]:
    for point in shown(fit):
        cells = [f"{value:.6g}" for value in fit.x[point]]
        for place in range(len(fit.outputs)):
            if fit.truth is not None:
                cells.append(f"{fit.truth[point, place]:.6g}")
            cells.append(f"{fit.mean[point, place]:.6g}")
            if fit.spread is not None:
                cells.append(f"± {fit.spread[point, place]:.2g}")
            if fit.bands is not None:
                low, lower, upper, high = fit.bands[:, point, place]
                cells += [f"{lower:.5g} to {upper:.5g}", f"{low:.5g} to {high:.5g}"]
        yield cells
