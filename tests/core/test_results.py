"""Results to JSON and back; what is wrong with a file is named."""

import json
import re
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
from results import BANDS, CALIBRATED, OMNIGLOT, changed, course

from maml_cli.commands.evaluate import main as maml_eval
from maml_cli.commands.train import main as maml_train
from maml_cli.core.metric import ACCURACY, MSE, Metric
from maml_cli.core.results import Retest, RunResults

KEPT = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*.json"))
ERRORS = course({0: (3.5, 0.25), 1: (0.5, 0.125)})
SINUSOID = changed(OMNIGLOT, metric=MSE, ways=1, bn_stats=None, ensemble=ERRORS, single=ERRORS)
FEWER = course({0: (0.25, 0.125), 2: (0.75, 0.25)}, episodes=100)
RETEST = Retest(run="outputs/run", trained_by=None, epochs=3)


@pytest.mark.parametrize(
    "results",
    [
        OMNIGLOT,
        SINUSOID,
        changed(OMNIGLOT, train_ways=20, task_pool=200_000),
        changed(OMNIGLOT, split="val", retest=RETEST, iterations_skipped=None),
        changed(OMNIGLOT, ensemble=course({2: (0.9, 0.01)}), course=FEWER),
        changed(OMNIGLOT, calibration=CALIBRATED),
        changed(SINUSOID, calibration=BANDS),
    ],
    ids=[
        *("accuracy", "error", "other tasks in training", "tested again"),
        *("a course of its own episodes", "probabilities", "bands"),
    ],
)
def test_results_come_back_as_they_were(results: RunResults) -> None:
    assert RunResults.from_json(results.to_json()) == results


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_every_kept_file_comes_back_with_all_its_entries(file: Path) -> None:
    before = json.loads(file.read_text())
    after = json.loads(RunResults.from_json(file.read_text()).to_json())
    best = after.pop("val")
    assert best == before.pop("val") | {"to_maximize": best["to_maximize"]}  # it came later
    assert after == before


@pytest.mark.parametrize("dataset", ["glyphs", "sinusoid"])
def test_the_file_of_a_run_comes_back_to_the_byte(dataset: str, tmp_path: Path) -> None:
    small = [
        *("algo=maml", f"dataset={dataset}", "train.epochs=1", "train.iterations_per_epoch=1"),
        *("train.tasks_per_batch=2", "eval.val_episodes=2", "eval.test_episodes=2"),
        *(["backbone.filters=4", "ways=3"] if dataset == "glyphs" else []),
    ]
    run, again = tmp_path / "run", tmp_path / "again"
    assert maml_train([*small, f"hydra.run.dir={run}"]) == 0
    assert maml_eval([f"run={run}", f"output={again}", "eval.inner_steps=2", "split=val"]) == 0
    for folder in (run, again):
        text = (folder / "results.json").read_text()
        assert RunResults.from_json(text).to_json() == text


def test_of_the_single_network_the_file_keeps_the_end_alone() -> None:
    whole = course({0: (0.2, 0.1), 1: (0.5, 0.1), 2: (0.88, 0.01)})
    text = changed(OMNIGLOT, single=whole).to_json()
    assert RunResults.from_json(text) == OMNIGLOT
    assert json.loads(text)["test_single"] == {"mean": 0.88, "ci95": 0.01, "episodes": 600}


def test_the_course_of_the_best_network_is_told_from_that_of_the_ensemble() -> None:
    of_best = changed(OMNIGLOT, ensemble=course({2: (0.9, 0.01)}), course=FEWER)
    told = json.loads(of_best.to_json())["test_per_step"]
    assert (told["of"], told["episodes"]) == ("test_single", 100)
    assert (told["steps"], told["mean"]) == ([0, 2], [0.25, 0.75])
    assert (of_best.test.by_step, OMNIGLOT.test.by_step) == (FEWER, OMNIGLOT.test.ensemble)
    assert "of" not in json.loads(OMNIGLOT.to_json())["test_per_step"]


def test_what_diverged_is_null() -> None:
    text = changed(OMNIGLOT, ensemble=course({0: (0.2, 0.0), 2: (nan, nan)})).to_json()
    assert json.loads(text)["test"]["mean"] is None
    last = RunResults.from_json(text).test.ensemble.last
    assert (str(last.mean), str(last.ci95)) == ("nan", "nan")


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_direction_of_an_unknown_metric_is_kept(higher_is_better: bool) -> None:
    metric = Metric(name="r2", higher_is_better=higher_is_better)
    results = changed(OMNIGLOT, metric=metric)
    assert results.to_maximize == (0.85 if higher_is_better else -0.85)
    assert RunResults.from_json(results.to_json()).metric == metric


def test_entries_of_other_versions_are_ignored() -> None:
    content = json.loads(OMNIGLOT.to_json()) | {"flops": 12}
    assert RunResults.from_json(json.dumps(content)) == OMNIGLOT


def without(*path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(OMNIGLOT.to_json())
    *places, key = path
    inner = content
    for place in places:
        inner = inner[place]
    del inner[key]
    return content


LATER = ("train_ways", "train_shots", "train_queries", "own_steps", "iterations_skipped")
NEEDED = [(key,) for key in json.loads(OMNIGLOT.to_json()) if key not in LATER]


@pytest.mark.parametrize(
    "path",
    [*NEEDED, ("test", "mean"), ("test", "episodes"), ("test_per_step", "ci95"), ("val", "mean")],
    ids=".".join,
)
def test_a_missing_entry_is_named(path: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^{'.'.join(path)} is missing$"):
        RunResults.from_json(json.dumps(without(*path)))


def test_entries_that_came_later_may_be_missing() -> None:
    content: dict[str, Any] = json.loads(OMNIGLOT.to_json())
    for key in LATER:
        del content[key]
    results = RunResults.from_json(json.dumps(content))
    assert results == changed(OMNIGLOT, **dict.fromkeys(LATER))
    assert json.loads(results.to_json()) == content


COURSE = {"steps": [0, 2], "mean": [0.2, 0.9], "ci95": [0.0, 0.01]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ways": "5"}, 'ways must be a whole number from 0 up, but is "5"'),
        ({"ways": True}, "ways must be a whole number from 0 up, but is true"),
        ({"seed": None}, "seed must be a whole number from 0 up, but is null"),
        ({"train_shots": 1.5}, "train_shots must be a whole number from 0 up, but is 1.5"),
        ({"algo": None}, "algo must be a string, but is null"),
        ({"remarks": "half"}, 'remarks must be a list of strings, but is "half"'),
        ({"toggles": {"msl": 1}}, 'toggles must be an object of booleans and strings, but is {"'),
        ({"test": 0.9}, "test is not a JSON object"),
        ({"val": {"mean": "x", "best_epoch": 1}}, "val.mean must be a number or null, but is"),
        ({"inner_steps": 5}, "inner_steps is 5, but the last of test_per_step.steps is 2"),
        ({"test_per_step": COURSE | {"steps": [2, 0]}}, "test_per_step.steps must ascend"),
        ({"test_per_step": COURSE | {"mean": [0.9]}}, "test_per_step.mean has 1 values, but test_"),
        ({"split": "train", "run": "r"}, "split must be val or test, but is train"),
    ],
    ids=str,
)
def test_a_mistyped_entry_is_named(change: dict[str, Any], message: str) -> None:
    content = json.loads(OMNIGLOT.to_json()) | change
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        RunResults.from_json(json.dumps(content))


def test_what_is_not_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="the file is not a JSON object"):
        RunResults.from_json("[1, 2]")


def test_metrics_have_a_direction_and_a_unit() -> None:
    assert (ACCURACY.scale, MSE.scale) == (100, 1)
    assert ACCURACY.improves(0.1)
    assert not MSE.improves(0.1)
    assert (ACCURACY.to_maximize(0.5), MSE.to_maximize(0.5)) == (0.5, -0.5)
    assert replace(MSE, per_step=False) != MSE
