"""The fitted curves of a regression run, before and after adaptation."""

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maml_cli.core.records import Curves, RunInfo, Sink
from maml_cli.core.results import RunResults
from maml_cli.core.types import Episode
from maml_cli.reporting.figures import Margins, write_png
from maml_cli.storage.run_folder import RunFolder

# Okabe and Ito's palette, told apart with any colour vision; the dashes tell them apart in grey.
TRUTH: dict[str, Any] = {"color": "#C8C8C8", "linewidth": 7.0}
SUPPORT: dict[str, Any] = {
    "color": "black",
    "marker": "o",
    "linestyle": "",
    "markersize": 5,
    "zorder": 5,
}
BEFORE: dict[str, Any] = {"color": "#D55E00", "linestyle": ":", "linewidth": 2.0}
FIRST: dict[str, Any] = {"color": "#009E73", "linestyle": "--", "linewidth": 2.0}
LAST: dict[str, Any] = {"color": "#0072B2", "linestyle": "-", "linewidth": 2.2}
SAMPLE: dict[str, Any] = {"color": "#0072B2", "linewidth": 0.6, "alpha": 0.6}
BANDS = {"90 % band": ((0, 3), "#D6E8F5"), "50 % band": ((1, 2), "#A3CBE8")}
"""Which of the ends that `Curves.bands` has, and the tint."""
SAMPLES_DRAWN = 10
LEGEND = 0.5
"""Inches above the panels for a legend of two rows."""


class CurvesFile(Sink):
    """Writes `curves.png`, if the run has curves."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).curves

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        if curves is not None:
            write_png(curves_figure(curves), self._path)


def curves_figure(curves: Curves) -> Figure:
    """One panel per task: truth, support points, and the fit after 0, 1 and all inner steps.

    Around the last fit are its central 50 and 90 % bands and, if it is the mean of several samples,
    ten of them. A panel's title gives the squared error over the grid before and after adaptation,
    and how much of the truth is in the 90 % band.
    """
    tasks = len(curves.truth)
    columns = ceil(sqrt(tasks))
    rows = -(-tasks // columns)
    figure = Figure(figsize=(4.2 * columns, 2.9 * rows + 0.7), dpi=120)
    grid = Margins(top=LEGEND + 0.35, down=0.35).grid(figure, rows, columns)
    panels = figure.subplots(
        rows, columns, squeeze=False, sharex=True, sharey=True, gridspec_kw=grid
    )
    for task, panel in enumerate(panels.flat):
        if task < tasks:
            draw_task(panel, curves, task)
        else:
            panel.set_visible(False)
    label_axes(figure, panels[0, 0], axes=curves.axes)
    return figure


def side_by_side(fits: Mapping[str, Curves]) -> Figure:
    """The same test tasks as fitted by several learners, by name: a column for each."""
    tasks = min(len(curves.truth) for curves in fits.values())
    size = 4.2 * len(fits), 2.9 * tasks + 0.9
    figure = Figure(figsize=size, dpi=120)
    grid = Margins(top=LEGEND + 0.55, across=0.35, down=0.35).grid(figure, tasks, len(fits))
    panels = figure.subplots(
        tasks, len(fits), squeeze=False, sharex=True, sharey="row", gridspec_kw=grid
    )
    for column, (name, curves) in enumerate(fits.items()):
        for task in range(tasks):
            draw_task(panels[task, column], curves, task, end="after the last inner step")
        panels[0, column].set_title(f"{name}\n{panels[0, column].get_title()}", fontsize=10)
    label_axes(figure, *panels[0])
    return figure


def draw_task(panel: Axes, curves: Curves, task: int, *, end: str | None = None) -> None:
    """One task: truth, support points, fits, bands and samples.

    `end` is what the last fit is called; None: by its number of inner steps.
    """
    last = len(curves.predictions) - 1
    styles = {0: BEFORE, 1: FIRST, last: LAST} if last > 0 else {0: BEFORE}
    _draw_bands(panel, curves, task)
    panel.plot(curves.x[task], curves.truth[task], label="truth", **TRUTH)
    if len(curves.samples) > 1:
        drawn = curves.samples[:SAMPLES_DRAWN, task].T
        label = [f"{drawn.shape[1]} of {len(curves.samples)} samples"]
        panel.plot(curves.x[task], drawn, label=label + [None] * (drawn.shape[1] - 1), **SAMPLE)
    for step, style in styles.items():
        said = end if end and step == last else _steps(step)
        panel.plot(curves.x[task], curves.predictions[step, task], label=said, **style)
    panel.plot(curves.support_x[task], curves.support_y[task], label="support", **SUPPORT)
    before, after = np.square(curves.predictions[[0, last], task] - curves.truth[task]).mean(-1)
    panel.set_title(f"mse {before:.3g} → {after:.3g}{_inside(curves, task)}", fontsize=10)
    panel.grid(alpha=0.25)


def label_axes(figure: Figure, *panels: Axes, axes: tuple[str, str] = ("x", "y")) -> None:
    """Axis labels, and a legend of what the panels show."""
    figure.supxlabel(axes[0], y=0.1 / figure.get_figheight(), fontsize=10, parse_math=False)
    figure.supylabel(axes[1], x=0.1 / figure.get_figwidth(), fontsize=10, parse_math=False)
    shown = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    columns = min(len(shown), 4)
    figure.legend(shown.values(), shown.keys(), loc="upper center", ncols=columns, frameon=False)


def _draw_bands(panel: Axes, curves: Curves, task: int) -> None:
    if curves.bands is None:
        return
    for label, ((low, high), tint) in BANDS.items():
        ends = curves.bands[low, task], curves.bands[high, task]
        panel.fill_between(curves.x[task], *ends, label=label, color=tint, linewidth=0)


def _inside(curves: Curves, task: int) -> str:
    if curves.bands is None:
        return ""
    low, high, truth = curves.bands[0, task], curves.bands[3, task], curves.truth[task]
    return f", {100 * ((low <= truth) & (truth <= high)).mean():.0f} % in the 90 % band"


def _steps(step: int) -> str:
    if step == 0:
        return "before adaptation"
    return f"after {step} inner step" + ("s" if step > 1 else "")
