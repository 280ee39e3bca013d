"""Numbers as they are shown: in percent where that is the metric's unit, others as they are."""

from collections.abc import Mapping
from math import floor, isfinite, log10

from maml_cli.core.metric import Metric

NOT_FINITE = "not finite"
"""Instead of a number, where a value is inf or nan."""


def show(metric: Metric, mean: float) -> str:
    """`97.65 %` for an accuracy of 0.9765, four significant digits for any other metric."""
    if not isfinite(mean):
        return NOT_FINITE
    return f"{100 * mean:.2f} %" if metric.unit == "%" else f"{mean:.4g}"


def show_interval(metric: Metric, mean: float, ci95: float) -> str:
    """`97.65 ± 0.31 %` for an accuracy; other metrics to two significant digits of the interval.

    With an interval of a million or more, both have an exponent.
    """
    if not isfinite(mean):
        return NOT_FINITE
    if metric.unit == "%":
        return f"{100 * mean:.2f} ± {100 * ci95:.2f} %"
    if not isfinite(ci95) or ci95 <= 0:
        return f"{mean:.4g} ± {ci95:.2g}"
    if ci95 >= 1e6:
        return f"{mean:.2g} ± {ci95:.2g}"
    digits = max(0, 1 - floor(log10(ci95)))
    return f"{mean:.{digits}f} ± {ci95:.{digits}f}"


def show_speed(iterations_per_second: float) -> str:
    """`3.4 it/s`, or `2.9 s/it` where an iteration takes more than a second."""
    if 0 < iterations_per_second < 1:
        return f"{1 / iterations_per_second:.1f} s/it"
    return f"{iterations_per_second:.1f} it/s"


def count(number: int, one: str, many: str) -> str:
    """`1 query`, `1,200 queries`."""
    return f"{number:,} {one if number == 1 else many}"


def show_toggles(toggles: Mapping[str, bool | str]) -> str:
    """`msl on, da off, order 2`: a word for a boolean, text as it is."""
    return ", ".join(f"{name} {_switch(value)}" for name, value in toggles.items())


def _switch(value: bool | str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value
