import json
from pathlib import Path

from maml_cli.report.collect import collect
from maml_cli.report.history import history

from .conftest import MakeRun


def test_seconds_are_those_of_training(make_run: MakeRun) -> None:
    """10 iterations at 2 per second and 10 at 5 per second: 5 s, then 7 s."""
    folder: Path = make_run("run")
    lines = [
        {"kind": "train", "iteration": 10, "iterations_per_second": 2.0},
        {"kind": "val", "iteration": 10, "val": [{"mean": 0.4}], "inner_rates": {}},
        {"kind": "train", "iteration": 20, "iterations_per_second": 5.0},
        {"kind": "val", "iteration": 20, "val": [{"mean": 0.5}], "inner_rates": {}},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    [run] = collect([folder]).runs
    found = history(run)
    assert found is not None
    assert (found.iterations, found.seconds, found.metric) == ([10, 20], [5.0, 7.0], [0.4, 0.5])


def test_a_run_without_its_metrics_has_no_history(make_run: MakeRun) -> None:
    [run] = collect([make_run("run")]).runs
    assert history(run) is None
