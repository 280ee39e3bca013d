"""The predicted classes of pictures: a table for the terminal, for `table.md` and as CSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from tabulate import tabulate

from maml_cli.core.plain_text import csv_cell, markdown_cell
from maml_cli.reporting.terminal_table import TerminalTable

RUNNERS_UP = 2
"""How many classes after the first are shown in the terminal; the files have them all."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The probability of each class for each picture."""

    classes: Sequence[str]
    pictures: Sequence[str]
    probabilities: NDArray[np.floating]
    """(pictures, classes), rows that sum up to 1."""
    spread: NDArray[np.floating] | None
    """Their standard deviation over the samples, of the same shape; None if there is one sample."""
    truth: Sequence[int] | None
    """The number of each picture's class, if it is known."""

    @property
    def predicted(self) -> list[int]:
        """The number of the most probable class of each picture."""
        best: list[int] = self.probabilities.argmax(1).tolist()
        return best

    @property
    def right(self) -> list[bool] | None:
        """Whether each prediction is true, if that is known."""
        if self.truth is None:
            return None
        return [p == t for p, t in zip(self.predicted, self.truth, strict=True)]

    def spread_of_first(self, picture: int) -> float | None:
        """The spread of the most probable class, if there are several samples."""
        if self.spread is None:
            return None
        return float(self.spread[picture, self.predicted[picture]])

    def ranking(self, picture: int) -> list[tuple[str, float]]:
        """Classes and their probabilities, the most probable first."""
        row = self.probabilities[picture]
        return [(self.classes[c], float(row[c])) for c in np.argsort(-row, kind="stable")]


def score(predictions: Predictions) -> str:
    """How many are right: `17 of 20 right (85.00 %)`; empty if that is not known."""
    right = predictions.right
    if right is None:
        return ""
    return f"{sum(right)} of {len(right)} right ({100 * sum(right) / len(right):.2f} %)"


def csv_text(predictions: Predictions) -> str:
    """A row per picture, with the probability of every class."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    each = [f"probability of {name}" for name in predictions.classes]
    truth = ["class"] if predictions.truth is not None else []
    spread = ["spread"] if predictions.spread is not None else []
    header = ["picture", *truth, "predicted", "probability", *spread, *each]
    writer.writerow(map(csv_cell, header))
    for number, name in enumerate(predictions.pictures):
        row = predictions.probabilities[number].tolist()
        predicted, probability = predictions.ranking(number)[0]
        true = [predictions.classes[predictions.truth[number]]] if predictions.truth else []
        width = predictions.spread_of_first(number)
        numbers = [probability, *([] if width is None else [width]), *row]
        names = map(csv_cell, (name, *true, predicted))
        writer.writerow([*names, *(f"{p:.6f}" for p in numbers)])
    return file.getvalue()


def markdown(predictions: Predictions) -> str:
    """The same as a table, the classes of each picture by falling probability."""
    header = _header(predictions)
    rows = [list(map(markdown_cell, row)) for row in _rows(predictions, len(predictions.classes))]
    return str(tabulate(rows, header, tablefmt="github", disable_numparse=True))


def terminal_table(predictions: Predictions) -> TerminalTable:
    """The same for a terminal, green where a prediction is right and red where not."""
    right = predictions.right
    rows = []
    for number, (name, *others) in enumerate(_rows(predictions, 1 + RUNNERS_UP)):
        style = "" if right is None else "green" if right[number] else "red"
        rows.append([Text(name), *(Text(cell, style) for cell in others)])
    return TerminalTable(_header(predictions), rows)


def _header(predictions: Predictions) -> list[str]:
    truth = ["class"] if predictions.truth is not None else []
    spread = ["spread"] if predictions.spread is not None else []
    return ["picture", *truth, "predicted", "probability", *spread, "then"]


def _rows(predictions: Predictions, classes: int) -> Iterator[list[str]]:
    """The cells of each picture, with its `classes` most probable classes."""
    for number, name in enumerate(predictions.pictures):
        (predicted, probability), *others = predictions.ranking(number)[:classes]
        true = [predictions.classes[predictions.truth[number]]] if predictions.truth else []
        then = ", ".join(f"{other} {100 * p:.1f} %" for other, p in others)
        width = predictions.spread_of_first(number)
        spread = [] if width is None else [f"± {100 * width:.1f} %"]
        yield [name, *true, predicted, f"{100 * probability:.1f} %", *spread, then]
