"""The text of single cells: numbers with their intervals, marks and sources."""

from collections.abc import Iterable, Sequence
from math import isfinite

from maml_cli.core.metric import Metric
from maml_cli.core.stats import Estimate
from maml_cli.report.group import Group
from maml_cli.report.protocol import budget, fraction, remarks
from maml_cli.report.published import Published
from maml_cli.reporting.format import NOT_FINITE, show_interval
from maml_cli.reporting.table import MARK

SHORT = "‡"
"""Marks the numbers of runs with fewer iterations than the published ones."""
NONE = "–"
LEGEND = {
    MARK: "with a remark, below the table of its task",
    SHORT: "fewer iterations than published",
    "↓": "worse than published, beyond our interval",
    "↑": "better than published, beyond our interval",
    "≈": "the published number, to its last digit, lies in our interval",
    "↕": "our interval is wider than the mean: a few test tasks or seeds decide it",
}


class Sources:
    """Numbers the sources in the order in which they are cited."""

    def __init__(self) -> None:
        self._cited: dict[str, int] = {}

    def mark(self, number: Published) -> str:
        text = number.source
        if number.plus_minus_is is not None:
            text += f"; their ± is the {number.plus_minus_is}"
        if not number.confirmed:
            text += "; as commonly quoted, not confirmed"
        return f"[{self._cited.setdefault(text, len(self._cited) + 1)}]"

    def notes(self) -> list[str]:
        return [f"[{place}] {text}" for text, place in self._cited.items()]


def measured(
    group: Group,
    result: Estimate,
    published: Sequence[Published],
    against: float | None = None,
) -> str:
    """The number with its interval and its marks."""
    marks = [
        MARK if remarks(group) else "",
        SHORT if fraction(group, published) else "",
        direction(group, result, against) if against is not None else "",
    ]
    return " ".join([interval(group, result), *filter(None, marks)])


def interval(group: Group, result: Estimate) -> str:
    """`97.65 ± 0.31 %`, in the unit of the group's metric."""
    return show_interval(group.metric, result.mean, result.ci95)


def budget_cell(group: Group, published: Sequence[Published]) -> str:
    """`500 × 8 (1 % of 50,000)`: the share only where it is less than published."""
    part = fraction(group, published)
    return f"{budget(group)} ({part})" if part else budget(group)


def against(group: Group, result: Estimate, value: float) -> str:
    """`-1.05 ↓`: ours minus the published accuracy, in percentage points."""
    if not isfinite(result.mean):
        return NONE
    return f"{100 * result.mean - value:+.2f} {direction(group, result, value)}"


def direction(group: Group, result: Estimate, value: float) -> str:
    """Whether a published value lies in our interval (≈), or ours is better (↑) or worse (↓).

    A published value may be off by half a unit of its last digit.

    ↕ where the interval is wider than the mean is high: it tells of no value.
    """
    metric = group.metric
    difference = metric.scale * result.mean - value
    if not isfinite(difference):
        return ""
    if result.ci95 > abs(result.mean):
        return "↕"
    rounding = 0.5 * 10 ** -_decimals(value)
    if abs(difference) <= metric.scale * result.ci95 + rounding:
        return "≈"
    return "↑" if metric.improves(difference) else "↓"


def value(number: Published) -> str:
    """`97.65 ± 0.05`, a published accuracy in percent."""
    return NONE if number.value is None else _printed(number.value, number.plus_minus)


def error(number: Published, step: int) -> str:
    """`0.67`, the published error after this many steps; empty if there is none."""
    return _printed(number.steps[step], number.plus_minus) if step in number.steps else ""


def _printed(mean: float, plus_minus: float | None) -> str:
    """With as many decimals as the more precise of the two."""
    both = [number for number in (mean, plus_minus) if number is not None]
    digits = max(map(_decimals, both))
    return " ± ".join(f"{number:.{digits}f}" for number in both)


def _decimals(number: float) -> int:
    return len(str(number).partition(".")[2])


def points(metric: Metric, difference: float, ci95: float) -> str:
    """A difference with its sign and interval; of a metric in percent, in percentage points."""
    if not isfinite(difference):
        return NOT_FINITE
    shown = show_interval(metric, difference, ci95).replace(" %", " points")
    return shown if difference < 0 else f"+{shown}"


def joined(parts: Iterable[str]) -> str:
    """The parts in one cell, or a dash."""
    return "; ".join(parts) or NONE


def legend(rows: Iterable[Sequence[str]]) -> str:
    """What the marks mean that are in these rows."""
    text = " ".join(cell for row in rows for cell in row)
    return sentence("; ".join(f"{mark} {says}" for mark, says in LEGEND.items() if mark in text))


def sentence(text: str) -> str:
    """The text with its full stop; nothing if there is none."""
    return f"{text}." if text else ""


def clock(seconds: float) -> str:
    """`3.1 min` or `1 h 05 min`."""
    if not isfinite(seconds):
        return NONE
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{seconds / 60:.1f} min"
    )
