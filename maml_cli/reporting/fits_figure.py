"""The picture of a fit: a curve with bands and samples over one input, a panel per output."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maml_cli.reporting.figures import Margins
from maml_cli.reporting.fits import Fit, Numbers
from maml_cli.reporting.plots import (
    BANDS,
    LAST,
    LEGEND,
    SAMPLE,
    SAMPLES_DRAWN,
    SUPPORT,
    label_axes,
)

QUERY: dict[str, Any] = {**SUPPORT, "markerfacecolor": "white", "zorder": 4}
EDGE: dict[str, Any] = {"color": "#888888", "linestyle": ":", "linewidth": 1.2}


def fit_figure(
    curve: Fit,
    *,
    support: tuple[Numbers, Numbers],
    queries: tuple[Numbers, Numbers] | None,
    trained: tuple[float, float] | None,
) -> Figure:
    """The curve on a fine grid of its one input, the points that it was adapted to, and the truth.

    `support` and `queries` are inputs `(points, 1)` and outputs `(points, outputs)`; `trained` is
    the range of the input in training, whose ends are marked where the curve goes beyond it.
    """
    outputs = len(curve.outputs)
    figure = Figure(figsize=(7.0, 3.4 * outputs + 1.0), dpi=120)
    grid = Margins(top=LEGEND + 0.15, bottom=0.6).grid(figure, outputs, 1)
    panels = figure.subplots(outputs, 1, squeeze=False, sharex=True, gridspec_kw=grid)[:, 0]
    for place, panel in enumerate(panels):
        _draw_curve(panel, curve, place)
        if queries is not None:
            panel.plot(queries[0][:, 0], queries[1][:, place], label="queries", **QUERY)
        panel.plot(support[0][:, 0], support[1][:, place], label="support", **SUPPORT)
        if trained is not None:
            _draw_edges(panel, curve.x[:, 0], trained)
        panel.set_ylabel(curve.outputs[place], parse_math=False)
        panel.grid(alpha=0.25)
    label_axes(figure, *panels, axes=(curve.inputs[0], ""))
    return figure


def _draw_curve(panel: Axes, curve: Fit, place: int) -> None:
    x = curve.x[:, 0]
    if curve.bands is not None:
        for label, ((low, high), tint) in BANDS.items():
            ends = curve.bands[low, :, place], curve.bands[high, :, place]
            panel.fill_between(x, *ends, label=label, color=tint, linewidth=0)
    if len(curve.samples) > 1:
        drawn = curve.samples[:SAMPLES_DRAWN, :, place].T
        labels = [f"{drawn.shape[1]} of {len(curve.samples)} samples"]
        labels += ["_"] * (drawn.shape[1] - 1)  # left out of a legend
        panel.plot(x, drawn, label=labels, **SAMPLE)
    panel.plot(x, curve.mean[:, place], label="mean", **LAST)


def _draw_edges(panel: Axes, x: Numbers, trained: tuple[float, float]) -> None:
    ends = [end for end in trained if x.min() < end < x.max()]
    for number, end in enumerate(ends):
        panel.axvline(end, label=None if number else "trained range", **EDGE)
