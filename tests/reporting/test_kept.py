"""What is kept of the queries of a test: numbers that can be counted on paper."""

import csv
import io
from dataclasses import replace
from math import nan

import numpy as np
import pytest

from maml_cli.core.records import Queries, ScoredEpisodes
from maml_cli.reporting import confusion, kept
from maml_cli.reporting.feature_map import map_figure, two_dimensional
from maml_cli.reporting.kept import kept_files

PROBABILITIES = [
    [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [nan, nan]],
    [[0.7, 0.3], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]],
    [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]],
]
QUERIES = Queries(
    labels=np.array([[0, 0, 1, 1]] * 3),
    classes=np.array([[2, 0], [0, 2], [3, 2]]),
    names=["ant", "bee", "cat", "=dog"],
    files=None,
    probabilities=np.array(PROBABILITIES),
    features=(),
)
"""Episode 0: cat, cat taken for ant, ant, ant not answered. Episode 1: ant, ant, cat taken for ant,
cat. Episode 2: all right. No episode has a bee, or ant and dog together."""


def test_a_confusion_is_counted_over_episodes_that_have_both_classes():
    found = confusion.confusion_of(QUERIES)
    assert found.names == ["=dog", "ant", "cat"]
    assert found.shares[0] == pytest.approx([1, nan, 0], nan_ok=True)
    assert found.shares[1] == pytest.approx([nan, 3 / 4, 0], nan_ok=True)  # one has no answer
    assert found.shares[2] == pytest.approx([0, 2 / 4, 4 / 6])


def test_the_accuracy_of_a_class_is_a_mean_over_the_episodes_that_have_it():
    dog, ant, cat = confusion.confusion_of(QUERIES).accuracies
    assert (dog.mean, dog.n) == (1.0, 1)
    assert np.isnan(dog.ci95)
    assert (ant.mean, ant.n) == (3 / 4, 2)
    # the means are 1/2, 1/2 and 1: s = 1 / sqrt(12), t(0.975, 2) = 4.303
    assert cat.mean == pytest.approx(2 / 3)
    assert cat.ci95 == pytest.approx(4.303 / 6, rel=1e-3)


def test_the_table_has_the_worst_class_first():
    lines = confusion.markdown(confusion.confusion_of(QUERIES)).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:5]]
    assert cells == [
        ["cat", "3", "66.67 ± 71.71 %", "ant (50.00 %)"],
        ["ant", "2", "75.00 ± 317.66 %", "–"],
        ["=dog", "1", "100.00 %", "–"],
    ]
    assert "3 classes were tested" in lines[-1]


def test_the_shares_as_csv():
    rows = list(csv.reader(io.StringIO(confusion.csv_text(confusion.confusion_of(QUERIES)))))
    assert rows == [
        ["class", "'=dog", "ant", "cat"],
        ["'=dog", "1.000000", "", "0.000000"],
        ["ant", "", "0.750000", "0.000000"],
        ["cat", "0.000000", "0.500000", "0.666667"],
    ]


def test_a_row_of_predictions_per_query():
    rows = list(csv.DictReader(io.StringIO(kept.csv_text(QUERIES))))
    assert len(rows) == 12
    assert rows[1] == {
        **{"episode": "0", "query": "1", "class": "cat", "predicted": "ant", "label": "0"},
        **{"probability of 0": "0.400000", "probability of 1": "0.600000"},
    }
    assert [rows[3][name] for name in ("class", "predicted")] == ["ant", ""]
    assert rows[8]["class"] == "'=dog"
    files = [[f"{e}{q}.png" for q in range(4)] for e in range(3)]
    first = next(csv.DictReader(io.StringIO(kept.csv_text(replace(QUERIES, files=files)))))
    assert first["file"] == "00.png"


@pytest.mark.parametrize("classes", [3, 200])
def test_the_picture_has_a_cell_for_each_pair(classes):
    found = confusion.confusion_of(QUERIES)
    many = replace(found, names=[*"abc"] + ["$x^$"] * (classes - 3))
    many = replace(many, shares=np.full((classes, classes), 0.5))
    axes = confusion.confusion_figure(many).axes[0]
    assert axes.images[0].get_array().shape == (classes, classes)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == (["a", "b", "c"] if classes == 3 else [])


def test_features_can_be_read_without_pickles(tmp_path):
    before = np.arange(24.0, dtype=np.float32).reshape(3, 4, 2)
    kept.write_features(replace(QUERIES, features=(before, -before)), tmp_path / "features.npz")
    with np.load(tmp_path / "features.npz") as found:
        assert sorted(found) == ["after", "before", "class", "class_names", "label"]
        assert (found["after"] == -before).all()
        assert found["class"].tolist() == [[2, 2, 0, 0], [0, 0, 2, 2], [3, 3, 2, 2]]
        assert found["class_names"].tolist() == ["ant", "bee", "cat", "=dog"]


def test_principal_components_keep_the_distances_of_points_in_a_plane():
    random = np.random.default_rng(0)
    plane = random.normal(size=(2, 50))
    features = random.normal(size=(9, 2)) @ plane
    points = two_dimensional(features, "pca")

    def distances(x):
        return np.linalg.norm(x[:, None] - x[None], axis=-1)

    assert distances(points) == pytest.approx(distances(features))


def test_neighbours_stay_neighbours_in_a_map_by_tsne():
    clouds = np.repeat([[0.0] * 8, [100.0] * 8], 6, 0)
    features = clouds + np.random.default_rng(0).normal(size=clouds.shape)
    points = two_dimensional(features, "tsne")
    assert (points == two_dimensional(features, "tsne")).all()
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert (apart.argmin(1) // 6 == np.arange(12) // 6).all()


def test_a_map_for_each_episode_before_and_after_and_rings_around_mistakes():
    features = np.random.default_rng(0).normal(size=(3, 4, 2, 2))
    panels = map_figure(replace(QUERIES, features=(features, 2 * features)), "pca").axes
    assert len(panels) == 6
    assert [p.get_title() for p in panels[:2]] == ["before adaptation", "after adaptation"]
    rings = [len(panel.collections[-1].get_offsets()) for panel in panels]
    assert rings == [2, 2, 1, 1, 0, 0]
    assert len(map_figure(replace(QUERIES, features=(features,)), "pca").axes) == 3


def test_only_what_is_asked_for_is_written(info, tmp_path):
    queries = replace(QUERIES, features=(np.ones((3, 4, 2), np.float32),))
    for sink in kept_files(["predictions", "features", "predictions"]):
        sink.start(info, None)
        sink.tested(ScoredEpisodes([], [], {}, {}, queries))
    names = ["classes.md", "confusion.csv", "confusion.png", "features.npz", "predictions.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
