"""The predicted classes of pictures, as a figure."""

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from maml_cli.reporting.figures import write_png
from maml_cli.reporting.predictions import Predictions, score

Pixels = NDArray[np.uint8]
"""(pictures, channels, height, width)"""

SHOWN = 80
"""The largest number of queries that are shown."""
FEWEST, MOST = 5, 8
"""Pictures beside each other."""
# Inches: of a picture, the space beside it, a line of text, a heading, and below a row.
SIDE, GAP, LINE, HEADING, BELOW = 1.3, 0.2, 0.13, 0.42, 0.3
LETTERS, LINES = 18, 2
"""The most letters a line, and the most lines, of a name."""
# Okabe and Ito's palette, darker: told apart with any colour vision; and the marks tell in grey.
RIGHT, WRONG, UNKNOWN = "#00785A", "#C44601", "#222222"
BACKGROUND = "#F1F1F1"


class Cell(NamedTuple):
    """A picture with the text around it."""

    pixels: NDArray[np.uint8]
    name: str
    detail: str
    below: str = ""
    colour: str = UNKNOWN


class Section(NamedTuple):
    """Rows of cells under a heading."""

    heading: str
    cells: Sequence[Cell]
    columns: int

    @property
    def row(self) -> float:
        """Inches from one row to the next."""
        lines = max(cell.name.count("\n") for cell in self.cells) + 2
        return lines * LINE + SIDE + BELOW

    @property
    def height(self) -> float:
        """Inches."""
        return HEADING + -(-len(self.cells) // self.columns) * self.row


def write_figure(
    path: Path, predictions: Predictions, *, support: Pixels, labels: Sequence[int], queries: Pixels
) -> None:
    """Write the figure as PNG; raises StorageError."""
    figure = predictions_figure(predictions, support=support, labels=labels, queries=queries)
    with warnings.catch_warnings():
        # a name may be in a script that matplotlib's font lacks: boxes here, the tables have it
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        write_png(figure, path)


def predictions_figure(
    predictions: Predictions, *, support: Pixels, labels: Sequence[int], queries: Pixels
) -> Figure:
    """The first picture of each class, and below the queries with their predicted classes.

    `labels` are the numbers of the classes of `support`. Where the truth is known, colour and mark
    say whether a prediction is right, and the true class is named where not.
    """
    counts = np.bincount(labels).tolist()
    known = [
        Cell(support[labels.index(number)], _short(name), f"{counts[number]} given")
        for number, name in enumerate(predictions.classes)
    ]
    asked = [_query(predictions, number, p) for number, p in enumerate(queries[:SHOWN])]
    limit = f", the first {SHOWN} of {len(queries)}" if len(queries) > SHOWN else ""
    said = score(predictions)
    columns = min(MOST, max(FEWEST, len(known), len(asked)))
    above = Section("Support: the first picture of each class", known, columns)
    heading = f"Query{limit}: the predicted class and its probability"
    below = Section(f"{heading}; {said}" if said else heading, asked, columns)

    width, height = GAP + columns * (SIDE + GAP), above.height + below.height
    figure = Figure(figsize=(width, height), dpi=150)
    band = figure.add_axes((0, below.height / height, 1, above.height / height))
    band.set(facecolor=BACKGROUND, xticks=[], yticks=[])
    band.spines[:].set_visible(False)
    _fill(figure, above, top=height)
    _fill(figure, below, top=below.height)
    return figure


def _query(predictions: Predictions, number: int, pixels: NDArray[np.uint8]) -> Cell:
    (name, probability), right = predictions.ranking(number)[0], predictions.right
    shown, spread = f"{100 * probability:.1f} %", predictions.spread_of_first(number)
    if spread is not None:
        shown = f"{100 * probability:.0f} ± {100 * spread:.0f} %"
    if predictions.truth is None or right is None:
        return Cell(pixels, _short(name), shown)
    if right[number]:
        return Cell(pixels, _short(name), f"✓ {shown}", colour=RIGHT)
    true = predictions.classes[predictions.truth[number]]
    return Cell(pixels, _short(name), f"✗ {shown}", _short(f"is {true}", lines=1), WRONG)


def _short(text: str, lines: int = LINES) -> str:
    wrapped = textwrap.wrap(text, LETTERS)
    if len(wrapped) > lines:
        rest = " ".join(wrapped[lines - 1 :])
        wrapped[lines - 1 :] = [f"{rest[: LETTERS - 1]}…"]
    return "\n".join(wrapped)


def _fill(figure: Figure, section: Section, *, top: float) -> None:
    """Place a section's cells row by row, `top` inches above the figure's lower edge."""
    width, height = figure.get_size_inches()
    figure.text(
        GAP / width, (top - HEADING / 2) / height, section.heading, va="center", fontweight="bold"
    )
    for number, cell in enumerate(section.cells):
        row, column = divmod(number, section.columns)
        left = GAP + column * (SIDE + GAP)
        bottom = top - HEADING - (row + 1) * section.row + BELOW
        axes = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
        _draw(axes, cell)


def _draw(axes: Axes, cell: Cell) -> None:
    pixels = np.moveaxis(cell.pixels, 0, -1)
    axes.imshow(pixels.repeat(3 // pixels.shape[-1], -1), interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=cell.colour, linewidth=0.8 if cell.colour == UNKNOWN else 2.4)
    text: dict[str, Any] = {"fontsize": 7.5, "color": cell.colour, "parse_math": False}
    axes.set_title(f"{cell.name}\n{cell.detail}", pad=4, **text)
    axes.set_xlabel(cell.below, labelpad=3, **text)
