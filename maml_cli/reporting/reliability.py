"""How often predictions come true, against how often they promise to, as a picture."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from maml_cli.core.calibration import Calibration, Reading, Reliability
from maml_cli.core.records import Curves, RunInfo, Sink
from maml_cli.core.results import RunResults
from maml_cli.core.scoring import CONFIDENCE_BINS
from maml_cli.core.types import Episode
from maml_cli.reporting.calibration import readings, score_cell
from maml_cli.reporting.figures import Margins, write_png
from maml_cli.storage.run_folder import RunFolder

# Okabe and Ito's palette, told apart with any colour vision.
BAR, TOO_SURE, TOO_UNSURE, LINE = "#56B4E9", "#E69F00", "#009E73", "#0072B2"
DIAGONAL: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.0}


class ReliabilityFile(Sink):
    """Writes `reliability.png`."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).reliability

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        if results.test.calibration is not None:
            write_png(reliability_figure(results.test.calibration), self._path)


def reliability_figure(calibration: Calibration) -> Figure:
    """A column for each reading.

    Of classes: above, bars of accuracy over confidence with the gap to the mean confidence; below,
    how many predictions have that confidence. Of curves: the share of points in each central band.
    """
    shown = readings(calibration)
    classes = "ece" in calibration.fitted.scores
    height = 5.4 if classes else 4.4
    figure = Figure(figsize=(4.4 * len(shown) + 0.4, height), dpi=120)
    rows = [3.0, 1.0] if classes else [1.0]
    grid = Margins(top=0.7, across=0.85, right=0.35).grid(figure, len(rows), len(shown))
    panels = figure.subplots(
        len(rows), len(shown), squeeze=False, sharex=True, height_ratios=rows, gridspec_kw=grid
    )
    for column, (name, reading) in enumerate(shown.items()):
        draw = _draw_classes if classes else _draw_bands
        draw(panels[:, column], reading)
        panels[0, column].set_title(f"{name}\n{_summary(reading)}", fontsize=10)
    return figure


def _summary(reading: Reading) -> str:
    scores = reading.scores
    if "ece" in scores:
        chance = 100 * reading.by_chance["ece"]
        largest = 100 * reading.reliability.largest_gap
        return (
            f"ECE {score_cell('ece', scores['ece'])} (by chance {chance:.2f} %)\n"
            f"largest gap {largest:.1f} %, NLL {score_cell('nll', scores['nll'])}"
        )
    inside = score_cell("coverage_90", scores["coverage_90"])
    return f"{inside} in the 90 % band\nNLL {score_cell('nll', scores['nll'])}"


def _draw_classes(panels: np.ndarray, reading: Reading) -> None:
    above, below = panels
    reliability = reading.reliability
    left, width = _places(reliability), 1 / CONFIDENCE_BINS
    bars = {"width": width, "align": "edge", "edgecolor": "white", "linewidth": 0.5}
    promised, observed = np.array(reliability.promised), np.array(reliability.observed)
    above.bar(left, observed, color=BAR, label="accuracy", **bars)
    for label, colour, over in (("too sure", TOO_SURE, 1), ("too unsure", TOO_UNSURE, -1)):
        gap = np.clip(over * (promised - observed), 0, None)
        above.bar(
            left, gap, bottom=np.minimum(promised, observed), color=colour, label=label, **bars
        )
    _frame(above, "accuracy")
    above.legend(loc="upper left", frameon=False, fontsize=9)
    counts = np.array(reliability.counts)
    below.bar(left, counts / counts.sum(), color=LINE, **bars)
    below.yaxis.set_major_formatter(PercentFormatter(1.0))
    below.set(xlabel="confidence", ylabel="predictions", xlim=(0, 1))
    below.xaxis.set_major_formatter(PercentFormatter(1.0))


def _draw_bands(panels: np.ndarray, reading: Reading) -> None:
    (panel,) = panels
    reliability = reading.reliability
    panel.plot(reliability.promised, reliability.observed, "o-", color=LINE, markersize=4)
    _frame(panel, "points in the band")
    panel.set(xlabel="central band", xlim=(0, 1))
    panel.xaxis.set_major_formatter(PercentFormatter(1.0))


def _frame(panel: Axes, label: str) -> None:
    panel.plot([0, 1], [0, 1], **DIAGONAL)
    panel.set(ylim=(0, 1), ylabel=label)
    panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    panel.grid(alpha=0.25)


def _places(reliability: Reliability) -> list[float]:
    """The left edge of each bin, from the mean confidence in it."""
    bins = [max(math.ceil(p * CONFIDENCE_BINS) - 1, 0) for p in reliability.promised]
    return [place / CONFIDENCE_BINS for place in bins]
