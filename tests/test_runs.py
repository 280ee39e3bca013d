"""Whole runs from the command line: every algorithm on every data set, to its last file."""

import json
import os
from pathlib import Path

import pytest
import torch

from maml_cli.commands.train import main

ROOT = Path(__file__).parents[1]
TINY = [
    "train.epochs=2",
    "train.iterations_per_epoch=2",
    "train.tasks_per_batch=2",
    "eval.val_episodes=2",
    "eval.test_episodes=3",
]
SMALL_IMAGES = ["backbone.filters=4", "ways=3", "queries=2"]
REPORTED = {
    *("algo", "dataset", "ways", "shots", "queries", "seed", "toggles", "metric", "test", "val"),
    *("test_single", "iterations", "seconds_per_iteration", "device", "versions", "inner_steps"),
}


def train(folder: Path, *arguments: str) -> int:
    return main([*arguments, *TINY, f"hydra.run.dir={folder}"])


def results_of(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("algo", ["maml", "fomaml", "mamlpp"])
def test_the_maml_family_on_glyphs(algo, tmp_path):
    assert train(tmp_path, f"algo={algo}", "dataset=glyphs", *SMALL_IMAGES) == 0
    results = results_of(tmp_path)
    assert set(results) >= REPORTED
    assert (results["algo"], results["dataset"], results["metric"]) == (algo, "glyphs", "accuracy")
    assert results["iterations"] == 4
    assert results["toggles"]["msl"] == (algo == "mamlpp")
    assert results["toggles"]["second_order"] == (algo != "fomaml")
    assert 0 <= results["test"]["mean"] <= 1
    assert (results["test"]["episodes"], results["test"]["ensemble"]) == (3, 2)
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"config.yaml", "table.md", "metrics.jsonl", "checkpoints", "tensorboard"}


@pytest.mark.parametrize("algo", ["maml", "fomaml", "mamlpp"])
def test_the_maml_family_on_sinusoids(algo, tmp_path):
    assert train(tmp_path, f"algo={algo}", "dataset=sinusoid") == 0
    test = results_of(tmp_path)["test"]
    assert test["steps"] == list(range(11))
    assert len(test["mean"]) == len(test["ci95"]) == 11
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_the_drawings_are_trained_on(tmp_path):
    data_dir = Path(os.environ.get("MAML_DATA_DIR", ROOT.parent / "shared" / "data"))
    if not (data_dir / "omniglot").is_dir():
        pytest.skip(f"no omniglot/ in {data_dir}: set MAML_DATA_DIR to test on the drawings")
    arguments = ["algo=maml", "dataset=omniglot", f"data_dir={data_dir}", *SMALL_IMAGES]
    assert train(tmp_path, *arguments) == 0
    assert results_of(tmp_path)["test"]["episodes"] == 3


def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path):
    def weights(name: str, *arguments: str) -> dict[str, torch.Tensor]:
        folder = tmp_path / name
        assert train(folder, "algo=mamlpp", "dataset=glyphs", *SMALL_IMAGES, *arguments) == 0
        return torch.load(folder / "checkpoints" / "epoch-0002.pt", weights_only=True)["theta"]

    one, same, other = weights("a"), weights("b"), weights("c", "seed=1")
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_pool_of_tasks_is_trained_on_in_turn(tmp_path):
    """Eight tasks are drawn: a pool of eight is the endless supply, a smaller one is not."""
    found = {}
    for size in ("null", 8, 3):
        folder = tmp_path / str(size)
        arguments = ["algo=maml", "dataset=glyphs", *SMALL_IMAGES]
        assert train(folder, *arguments, f"train.task_pool={size}") == 0
        found[size] = torch.load(folder / "checkpoints" / "epoch-0002.pt", weights_only=True)
        results = results_of(folder)
        assert results.get("task_pool") == (None if size == "null" else size)
        assert ("fixed task" in (folder / "table.md").read_text()) == (size != "null")
    endless, eight, three = (content["theta"] for content in found.values())
    assert all(torch.equal(endless[name], eight[name]) for name in endless)
    assert not all(torch.equal(endless[name], three[name]) for name in endless)


def test_training_of_other_ways_is_told(tmp_path):
    arguments = ["algo=nearest_neighbour", "dataset=glyphs", *SMALL_IMAGES]
    assert train(tmp_path, *arguments, "train_ways=7") == 0
    results = results_of(tmp_path)
    assert (results["ways"], results["train_ways"]) == (3, 7)
    assert "; in training 7 ways; " in (tmp_path / "table.md").read_text()
    assert (tmp_path / "tensorboard").is_dir()  # its picture of an episode has seven columns


def test_algorithms_meet_the_same_test_episodes(tmp_path):
    """Before adaptation the same seed's networks are alike, so equal episodes score equally."""
    scores = []
    for algo in ("maml", "fomaml"):
        arguments = [f"algo={algo}", "dataset=glyphs", *SMALL_IMAGES]
        assert (
            train(tmp_path / algo, *arguments, "train.outer_lr=1e-9", "train.min_outer_lr=0") == 0
        )
        scores.append(results_of(tmp_path / algo)["test_per_step"]["mean"])
    assert scores[0] == scores[1]
