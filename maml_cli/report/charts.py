"""Charts as SVG, to stand in a page: they take its font and, through CSS variables, its colours."""

import io
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter, ScalarFormatter, StrMethodFormatter

from maml_cli.core.metric import Metric

INK = "#000001"
"""Becomes the colour of the page's text."""
# Okabe and Ito's palette, told apart with any colour vision; the page has a variable for each.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
DASHES = ("-", "--", ":")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "maml-report",
    "font.size": 9,
    "text.parse_math": False,  # names are not formulas
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}
DOTS = 20
"""A line with more values has no dots."""
WIDTH = 4.6
HEIGHT = 3.0
LEGEND_ROW = 0.19
"""Inches."""
LEGEND_HALF = 26
"""Characters of which two have room beside each other."""


class Line(NamedTuple):
    """A named series; `ends` are the half widths of its intervals, if it has any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    ends: Sequence[float] = ()


def lines(
    series: Sequence[Line],
    *,
    x: str,
    y: str,
    metric: Metric,
    steps: bool = False,
    points: Sequence[Line] = (),
) -> str:
    """A line per series, and hollow points in the colour of the series of the same name.

    Values that are not percentages are errors, on a logarithmic scale. With `steps`, x counts inner
    steps, and each value has its dot.
    """
    columns = 2 if all(len(line.name) <= LEGEND_HALF for line in series) else 1
    rows = -(-(len(series) + bool(points)) // columns)
    with mpl.rc_context(STYLE):
        figure, axes = _axes(HEIGHT + LEGEND_ROW * rows)
        for place, line in enumerate(series):
            colour, dash = _colour(place), DASHES[place // len(SERIES) % len(DASHES)]
            marker = "o" if steps and len(line.x) <= DOTS else None
            axes.plot(
                line.x, line.y, dash, color=colour, label=line.name, marker=marker, markersize=3
            )
            if line.ends:
                low, high = np.subtract(line.y, line.ends), np.add(line.y, line.ends)
                axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
        names = [line.name for line in series]
        for line in points:
            colour = _colour(names.index(line.name))
            axes.plot(line.x, line.y, "D", color=colour, fillstyle="none", markersize=7)
        if points:
            axes.plot([], [], "D", color=INK, fillstyle="none", label="published")
        if metric.unit == "%":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_ylim(*_within_0_and_1(axes.get_ylim()))
        else:
            axes.set_yscale("log")
            axes.set_ylim(top=_highest(series, axes.get_ylim()[1]))
            _plain_numbers(axes.yaxis)
        axes.locator_params(axis="x", nbins=6, integer=True)
        last = max(max(line.x) for line in series)
        if steps and last > 10:
            _keep_room_for_ten(axes, last)
        axes.set(xlabel=x, ylabel=y)
        figure.legend(loc="outside lower center", ncols=columns)
        return _svg(figure)


class Row(NamedTuple):
    """A name with its value, half the width of its interval, and the published values."""

    name: str
    value: float
    end: float
    published: Sequence[float] = ()


def ranking(rows: Sequence[Row], *, x: str, metric: Metric) -> str:
    """A row for each name, the best one first: a dot with its interval, and published diamonds.

    Values that are not percentages are errors, on a logarithmic scale if all are positive.
    """
    best_first = sorted(rows, key=lambda row: row.value, reverse=metric.improves(1.0))
    names, values, ends, _ = zip(*best_first, strict=True)
    with mpl.rc_context(STYLE):
        figure, axes = _axes(0.9 + 0.22 * len(rows), width=1.6 * WIDTH)
        axes.errorbar(values, names, xerr=ends, fmt="o", color=SERIES[0], markersize=4)
        for row in best_first:
            there = [row.name] * len(row.published)
            axes.plot(row.published, there, "D", color=SERIES[1], fillstyle="none", markersize=5)
        if any(row.published for row in rows):
            axes.plot([], [], "D", color=SERIES[1], fillstyle="none", label="published")
            figure.legend(loc="outside upper center")
        if metric.unit == "%":
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_xlim(*_within_0_and_1(axes.get_xlim()))
        elif min(values) > 0:
            axes.set_xscale("log")
            _plain_numbers(axes.xaxis)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        figure.supxlabel(x, fontsize="medium")  # may be wider than the axes
        return _svg(figure)


def differences(
    names: Sequence[str],
    values: Sequence[float],
    ends: Sequence[float],
    *,
    x: str,
    metric: Metric,
) -> str:
    """A horizontal bar from zero for each name, with its interval; better and worse by colour."""
    better, worse = SERIES[2], SERIES[1]
    with mpl.rc_context(STYLE):
        figure, axes = _axes(0.9 + 0.34 * len(names))
        colours = [better if metric.improves(value) else worse for value in values]
        axes.barh(names, values, xerr=ends, color=colours, height=0.6, ecolor=INK)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        figure.supxlabel(x, fontsize="medium")  # may be wider than the bars
        return _svg(figure)


def rates(values: Mapping[str, Sequence[float]]) -> str:
    """Learned inner rates: a row per adapted tensor, a column per inner step."""
    table = list(values.values())
    largest = max((abs(rate) for row in table for rate in row if isfinite(rate)), default=0) or 1.0
    with mpl.rc_context(STYLE):
        figure, axes = _axes(0.8 + 0.27 * len(table))
        axes.pcolormesh(table, cmap="PuOr_r", vmin=-largest, vmax=largest, edgecolors="face")
        for row, numbers in enumerate(table):
            for column, rate in enumerate(numbers):
                ink = "white" if abs(rate) > 0.65 * largest else "black"
                place = (column + 0.5, row + 0.5)
                axes.annotate(f"{rate:.3f}", place, ha="center", va="center", color=ink, fontsize=8)
        axes.set_yticks([row + 0.5 for row in range(len(table))], list(values))
        steps = range(1, len(table[0]) + 1)
        axes.set_xticks([step - 0.5 for step in steps], [str(step) for step in steps])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.invert_yaxis()
        axes.set(xlabel="inner step")
        return _svg(figure)


def _axes(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _within_0_and_1(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits of accuracies, with room for dots; an interval over few seeds may go beyond."""
    low, high = limits
    return max(low, -0.03), min(high, 1.03)


def _keep_room_for_ten(axes: Axes, last: float) -> None:
    """A linear axis up to step 10, and a logarithmic one beyond."""
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xticks([step for step in (0, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if step <= last])
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _plain_numbers(axis: Axis) -> None:
    """Labels such as 0.2 on a logarithmic axis; a page would show the usual formulas raw."""
    low, high = axis.get_view_interval()
    plain = StrMethodFormatter("{x:g}")
    axis.set_major_formatter(plain)
    axis.set_minor_formatter(plain if high < 10 * low else NullFormatter())


def _highest(series: Sequence[Line], limit: float) -> float:
    """A limit that shows every series from its start, but not how far single tasks explode."""
    values = np.concatenate([line.y for line in series])
    finite = values[np.isfinite(values)]
    starts = [line.y[0] for line in series if np.isfinite(line.y[0])]
    if not len(finite):
        return limit
    return float(min(limit, max(30 * np.median(finite), 2 * max(starts, default=0.0))))


def _colour(place: int) -> str:
    return SERIES[place % len(SERIES)]


def _svg(figure: Figure) -> str:
    """The figure as an `svg` element, with the page's colours."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    for place, colour in enumerate(SERIES):
        svg = svg.replace(colour, f"var(--series-{place})")
    return svg
