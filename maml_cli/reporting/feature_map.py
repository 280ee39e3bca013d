"""The features of some queries in two dimensions, as a picture."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from maml_cli.core.plain_text import printable
from maml_cli.core.records import Queries, RunInfo, ScoredEpisodes, Sink
from maml_cli.core.types import Episode
from maml_cli.reporting.figures import write_png
from maml_cli.storage.run_folder import RunFolder

EPISODES_DRAWN = 3
METHODS = {"pca": "principal components", "tsne": "t-SNE"}
MOMENTS = ("before adaptation", "after adaptation")
# Okabe and Ito's palette, told apart with any colour vision; more classes differ by their markers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_NEIGHBOURS = 30
"""Perplexity of t-SNE, as in its paper; at most a third of the other queries (scikit-learn's rule
is below their number)."""
LETTERS = 20


class FeatureMap(Sink):
    """Writes `pca.png` or `tsne.png`; needs scikit-learn."""

    def __init__(self, method: str) -> None:
        self._method = method

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).feature_map(self._method)

    def tested(self, episodes: ScoredEpisodes) -> None:
        if episodes.queries is not None:
            write_png(map_figure(episodes.queries, self._method), self._path)


def map_figure(queries: Queries, method: str) -> Figure:
    """A row of maps for each of the first test episodes: before and after the adaptation.

    Each map is of the queries of one episode, since an adapted network has features of its own. If
    the adaptation changes no features, there is one map in a row. A query that is predicted wrong
    has a red ring.
    """
    drawn = min(EPISODES_DRAWN, len(queries.labels))
    columns = len(queries.features)
    size = 3.6 * columns + 2.4, 3.3 * drawn + 0.4
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    panels = figure.subplots(drawn, columns, squeeze=False)
    for row in range(drawn):
        for column, features in enumerate(queries.features):
            points = two_dimensional(features[row].reshape(len(features[row]), -1), method)
            _draw(panels[row, column], queries, row, points)
            if columns > 1 and row == 0:
                panels[row, column].set_title(MOMENTS[column], fontsize=10)
        panels[row, 0].set_ylabel(f"episode {row}", fontsize=10)
        panels[row, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    figure.supxlabel(f"{METHODS[method]} of the features of the queries", fontsize=10)
    return figure


def two_dimensional(features: NDArray[np.floating], method: str) -> NDArray[np.floating]:
    """(queries, 2) from (queries, numbers); equal numbers give equal maps."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    finite = np.nan_to_num(features.astype(np.float64))
    if method == "pca":
        points: NDArray[np.floating] = PCA(n_components=min(2, *finite.shape)).fit_transform(finite)
        return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    perplexity = min(MOST_NEIGHBOURS, (len(finite) - 1) / 3)
    embedding: NDArray[np.floating] = TSNE(
        perplexity=perplexity, init="random", random_state=0
    ).fit_transform(finite)
    return embedding


def _draw(panel: Axes, queries: Queries, episode: int, points: NDArray[np.floating]) -> None:
    labels = queries.labels[episode]
    right = (queries.predicted == queries.truth)[episode] & queries.answered[episode]
    for label, number in enumerate(queries.classes[episode]):
        place = points[labels == label]
        style: dict[str, Any] = {
            "color": COLOURS[label % len(COLOURS)],
            "marker": MARKERS[label // len(COLOURS) % len(MARKERS)],
        }
        panel.scatter(
            place[:, 0],
            place[:, 1],
            s=26,
            label=_short(queries.names[number]),
            linewidths=0,
            **style,
        )
    ring: dict[str, Any] = {"facecolors": "none", "edgecolors": "#E3001B", "linewidths": 1.2}
    panel.scatter(points[~right, 0], points[~right, 1], s=80, label="predicted wrong", **ring)
    panel.set(xticks=[], yticks=[])


def _short(name: str) -> str:
    shown = printable(name).replace("$", r"\$")
    return shown if len(shown) <= LETTERS else f"{shown[: LETTERS - 1]}…"
