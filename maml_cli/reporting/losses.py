"""`losses.png`: the loss of optimisation problems over the steps of the optimiser."""

import numpy as np
from matplotlib.figure import Figure

from maml_cli.core.records import Curves, RunInfo, Sink
from maml_cli.core.results import Descents, EvaluationResult, RunResults
from maml_cli.core.types import Episode
from maml_cli.reporting.figures import write_png
from maml_cli.storage.run_folder import RunFolder

BAND, MEAN = "#C8C8C8", "#0072B2"


class LossesFile(Sink):
    """Writes `losses.png`, if the run is about optimisation problems."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path, self._title = RunFolder(info.output_dir).losses, info.protocol.title

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        test = results.test
        if test.descents is not None:
            write_png(losses_figure(test, test.descents, self._title), self._path)


def losses_figure(test: EvaluationResult, descents: Descents, title: str) -> Figure:
    """The mean with its interval, the median, and the band of the middle half of the problems."""
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    steps = np.array(list(descents.spread))
    spread = np.array([tuple(s) for s in descents.spread.values()], dtype=float)
    mean = np.array([e.mean for e in test.single.estimates.values()])
    half = np.array([e.ci95 for e in test.single.estimates.values()])
    axes.fill_between(
        steps, spread[:, 1], spread[:, 2], color=BAND, label="middle half of the problems"
    )
    axes.plot(steps, spread[:, 0], color="black", linestyle="--", label="median")
    low = np.maximum(mean - half, np.nanmin(spread[:, 1]))  # a logarithm has no room for less
    axes.fill_between(steps, low, mean + half, color=MEAN, alpha=0.25, linewidth=0)
    axes.plot(steps, mean, color=MEAN, linewidth=2, label="mean, with its 95 % interval")
    axes.set_yscale("log")
    if np.isfinite(mean).any():
        axes.set_ylim(top=4 * max(mean[0], np.nanmedian(mean[np.isfinite(mean)])))
    axes.grid(alpha=0.25)
    axes.set(xlabel="steps", ylabel="loss", title=title)
    axes.legend(frameon=False)
    return figure
