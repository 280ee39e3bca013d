"""The facts beside a number: how training episodes were made."""

import json
from pathlib import Path

from maml_cli.report.collect import collect
from maml_cli.report.group import grouped
from maml_cli.report.protocol import shared_and_varying

from .conftest import MakeRun


def test_other_ways_in_training_are_a_column(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("one")
    make_run("other", train_ways=60, config={"train_ways": 60})
    groups, _ = grouped(collect([tmp_path]).runs)
    shared, varying = shared_and_varying(groups)
    assert sorted(varying["ways in training"]) == ["5", "60"]
    assert "settings" not in varying  # it is said once
    assert shared["shots in training"] == "1"


def test_the_same_ways_in_training_are_a_fact_of_all_rows(
    make_run: MakeRun, sinusoid: Path
) -> None:
    groups, _ = grouped(collect([make_run("one"), make_run("two", queries=15)]).runs)
    assert shared_and_varying(groups)[0]["ways in training"] == "5"
    groups, _ = grouped(collect([sinusoid]).runs)
    assert "ways in training" not in shared_and_varying(groups)[0]  # a curve has none


def test_a_pool_of_training_tasks_is_a_column(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("endless")
    make_run("pool", task_pool=200_000, config={"train": {"task_pool": 200_000}})
    groups, _ = grouped(collect([tmp_path]).runs)
    _, varying = shared_and_varying(groups)
    assert sorted(varying["fixed training tasks"]) == ["200,000", "–"]
    assert "settings" not in varying
    groups, _ = grouped(collect([tmp_path / "endless"]).runs)
    assert "fixed training tasks" not in shared_and_varying(groups)[0]


def test_results_of_before_tell_it_by_their_settings(make_run: MakeRun) -> None:
    folder = make_run("old", config={"train_ways": None, "train_shots": 10})
    results = json.loads((folder / "results.json").read_text())
    del results["train_ways"], results["train_shots"]
    (folder / "results.json").write_text(json.dumps(results))
    [run] = collect([folder]).runs
    assert (run.train_ways, run.train_shots) == (5, 10)


def test_a_test_with_other_shots_is_of_the_shots_that_training_had(make_run: MakeRun) -> None:
    [run] = collect([make_run("eval", shots=5, train_shots=1, config={"shots": 5})]).runs
    assert run.train_shots == 1
