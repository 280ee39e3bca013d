"""The accuracy of each class, and which classes are taken for which: tables and a picture."""

import csv
import io
from dataclasses import dataclass
from math import nan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from tabulate import tabulate

from maml_cli.core.metric import ACCURACY
from maml_cli.core.plain_text import csv_cell, markdown_cell, printable
from maml_cli.core.records import Queries, RunInfo, ScoredEpisodes, Sink
from maml_cli.core.stats import Estimate, estimate
from maml_cli.core.types import Episode
from maml_cli.reporting.figures import write_png
from maml_cli.reporting.format import count, show, show_interval
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder

NEVER_TOGETHER = "#E4E4E4"
NAMED, NUMBERED = 100, 25
"""With more classes than this the picture names none of them, or has no numbers in its cells."""
DARK = 0.5
"""Above this share a cell's number is white."""
LETTERS = 24


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Which classes are taken for which, over the C classes that were tested, sorted by name."""

    names: list[str]
    accuracies: list[Estimate]
    """Of each class, over the episodes that have it."""
    shares: NDArray[np.floating]
    """(C, C): of the queries of the class of this row, in episodes that also have the class of this
    column, the share that was taken for the latter; nan if no episode has both."""


def confusion_of(queries: Queries) -> Confusion:
    """Of all queries of a test; a query whose outputs are not finite is taken for no class."""
    total = len(queries.names)
    counts, asked = np.zeros((2, total, total))
    truth, predicted, answered = queries.truth, queries.predicted, queries.answered
    np.add.at(counts, (truth[answered], predicted[answered]), 1)
    for own, present in zip(truth, queries.classes, strict=True):
        np.add.at(asked, (own[:, None], present[None, :]), 1)
    tested: list[int] = np.flatnonzero(asked.any(1)).tolist()
    tested.sort(key=lambda number: queries.names[number])
    right = (predicted == truth) & answered
    with np.errstate(invalid="ignore"):
        shares = (counts / asked)[np.ix_(tested, tested)]
    return Confusion(
        names=[queries.names[c] for c in tested],
        accuracies=[_accuracy(right, truth == c) for c in tested],
        shares=shares,
    )


def _accuracy(right: NDArray[np.bool_], of_class: NDArray[np.bool_]) -> Estimate:
    """The mean over the episodes that have the class; one episode alone has no interval."""
    has = of_class.any(1)
    means = (right & of_class)[has].sum(1) / of_class[has].sum(1)
    return estimate(means) if len(means) > 1 else Estimate(float(means[0]), nan, 1)


class ClassesFile(Sink):
    """Writes `classes.md`, `confusion.csv` and `confusion.png`."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._folder, self._title = RunFolder(info.output_dir), info.protocol.title

    def tested(self, episodes: ScoredEpisodes) -> None:
        if episodes.queries is None:
            return
        confusion = confusion_of(episodes.queries)
        text = f"# {markdown_cell(self._title)}\n\n{markdown(confusion)}\n"
        write_atomically(self._folder.classes, text)
        write_atomically(self._folder.confusion, csv_text(confusion))
        write_png(confusion_figure(confusion), self._folder.confusion_figure)


def markdown(confusion: Confusion) -> str:
    """A row per class, the worst first: its accuracy, and what it is most often taken for."""
    order = sorted(range(len(confusion.names)), key=lambda c: confusion.accuracies[c].mean)
    rows = [_row(confusion, c) for c in order]
    header = ["class", "episodes", "accuracy", "most often taken for"]
    note = (
        "Each class by itself: its mean accuracy over the episodes that have it, ± the 95 % "
        "Student-t interval over these episodes. Beside it is the other class for which its "
        "queries are taken most often, with the share of the queries in episodes that have both. "
        f"{count(len(rows), 'class was', 'classes were')} tested. Predictions are those of the "
        "ensemble."
    )
    table = tabulate(rows, header, tablefmt="github", disable_numparse=True)
    return f"{table}\n\n{note}"


def _row(confusion: Confusion, number: int) -> list[str]:
    mean, ci95, episodes = confusion.accuracies[number]
    accuracy = show(ACCURACY, mean) if episodes == 1 else show_interval(ACCURACY, mean, ci95)
    others = np.nan_to_num(confusion.shares[number])
    others[number] = 0
    worst, taken = int(others.argmax()), "–"
    if others[worst] > 0:
        taken = f"{confusion.names[worst]} ({show(ACCURACY, others[worst])})"
    return [markdown_cell(confusion.names[number]), f"{episodes:,}", accuracy, markdown_cell(taken)]


def csv_text(confusion: Confusion) -> str:
    """The shares, a row per true class; a cell is empty if no episode has both classes."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [csv_cell(name) for name in confusion.names]
    writer.writerow(["class", *names])
    for name, shares in zip(names, confusion.shares, strict=True):
        writer.writerow([name, *("" if np.isnan(s) else f"{s:.6f}" for s in shares)])
    return file.getvalue()


def confusion_figure(confusion: Confusion) -> Figure:
    """The shares as a matrix of cells; grey where no episode has both classes."""
    classes = len(confusion.names)
    side = float(np.clip(0.36 * classes, 3.2, 14))
    figure = Figure(figsize=(side + 2.6, side + 1.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor(NEVER_TOGETHER)
    cells = axes.imshow(confusion.shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xlabel="taken for", ylabel="class")
    if classes <= NAMED:
        _name(axes, confusion.names)
    else:
        axes.set(xticks=[], yticks=[])
    if classes <= NUMBERED:
        _number(axes, confusion.shares)
    bar = figure.colorbar(cells, ax=axes, shrink=0.8, format=PercentFormatter(1.0))
    bar.set_label("share of the queries in episodes that have both classes")
    return figure


def _name(axes: Axes, names: list[str]) -> None:
    shown = [printable(name) for name in names]
    short = [name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…" for name in shown]
    places, size = range(len(names)), 8 if len(names) <= NAMED // 2 else 6
    axes.set_xticks(places, short, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(places, short, fontsize=size, parse_math=False)


def _number(axes: Axes, shares: NDArray[np.floating]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "white" if share > DARK else "black"
            axes.text(
                column,
                row,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                color=colour,
                fontsize=7,
            )
