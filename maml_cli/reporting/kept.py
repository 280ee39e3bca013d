"""Files about every query of a test, as `eval.keep` asks for them."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from maml_cli.core.eval_settings import Keep
from maml_cli.core.plain_text import csv_cell, printable
from maml_cli.core.records import Queries, RunInfo, ScoredEpisodes, Sink
from maml_cli.core.types import Episode
from maml_cli.reporting.confusion import ClassesFile
from maml_cli.reporting.feature_map import FeatureMap
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder


def kept_files(keep: Sequence[Keep]) -> list[Sink]:
    """The sinks that write what is asked for."""
    sinks: dict[Keep, list[Sink]] = {
        "predictions": [PredictionsFile(), ClassesFile()],
        "features": [FeaturesFile()],
        "pca": [FeatureMap("pca")],
        "tsne": [FeatureMap("tsne")],
    }
    return [sink for name in dict.fromkeys(keep) for sink in sinks[name]]


class PredictionsFile(Sink):
    """Writes `predictions.csv`."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).predictions_csv

    def tested(self, episodes: ScoredEpisodes) -> None:
        if episodes.queries is not None:
            write_atomically(self._path, csv_text(episodes.queries))


def csv_text(queries: Queries) -> str:
    """A row per query: its episode, file, class, predicted class, and each label's probability.

    A query whose outputs are not finite has no predicted class.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    where = [] if queries.files is None else ["file"]
    each = [f"probability of {label}" for label in range(queries.probabilities.shape[-1])]
    writer.writerow(["episode", "query", *where, "class", "predicted", "label", *each])
    writer.writerows(_rows(queries))
    return file.getvalue()


def _rows(queries: Queries) -> Iterator[list[object]]:
    names = [csv_cell(name) for name in queries.names]
    truth, predicted, answered = queries.truth, queries.predicted, queries.answered
    for episode, query in np.ndindex(queries.labels.shape):
        at = episode, query
        where = [] if queries.files is None else [csv_cell(queries.files[episode][query])]
        found = names[predicted[at]] if answered[at] else ""
        numbers = [f"{p:.6f}" for p in queries.probabilities[at]]
        label = int(queries.labels[at])
        yield [episode, query, *where, names[truth[at]], found, label, *numbers]


class FeaturesFile(Sink):
    """Writes `features.npz`."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).features

    def tested(self, episodes: ScoredEpisodes) -> None:
        if episodes.queries is not None:
            write_features(episodes.queries, self._path)


def write_features(queries: Queries, path: Path) -> None:
    """Arrays `before`, perhaps `after`, `label`, `class` and `class_names`; see docs/use.md."""
    arrays = dict(zip(("before", "after"), queries.features, strict=False))
    names = np.array([printable(name) for name in queries.names], np.str_)
    content = io.BytesIO()
    np.savez(
        content,
        allow_pickle=False,
        label=queries.labels,
        class_names=names,
        **{"class": queries.truth},
        **arrays,
    )
    write_atomically(path, content.getvalue())
