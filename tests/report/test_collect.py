"""What is found in folders, and what is not taken for a run."""

import json
import re
from pathlib import Path

import pytest

from maml_cli.core.errors import DataError
from maml_cli.core.results import Retest
from maml_cli.report.collect import collect

from .conftest import MakeRun


def test_runs_are_found_at_any_depth_and_once(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("sweep/0/run")
    found = collect([tmp_path, folder, folder / "results.json"])
    assert [run.folder for run in found.runs] == [folder]


def test_results_kept_by_hand_may_have_any_name(make_run: MakeRun, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (make_run("run") / "results.json").rename(kept / "omniglot.json")
    (kept / "other.json").write_text('{"name": "not a run"}')
    [run] = collect([kept]).runs
    assert run.file.name == "omniglot.json"
    with pytest.raises(DataError, match="not the results of a run"):
        collect([kept / "other.json"])


def test_without_its_configuration_a_run_is_known_by_its_command(
    make_run: MakeRun, tmp_path: Path
) -> None:
    command = "maml-train algo=maml algo.inner_lr=0.4 seed=7 data_dir='a b' hydra.run.dir=elsewhere"
    folder = make_run("run", command=command)
    (folder / "config.yaml").unlink()
    [run] = collect([tmp_path]).runs
    assert run.settings == {"algo": "maml", "algo.inner_lr": "0.4"}


def test_a_run_that_was_tested_again_is_known_by_both_commands(
    make_run: MakeRun, tmp_path: Path
) -> None:
    trained_by = "maml-train algo=maml eval.ensemble=5 seed=7"
    command = "maml-eval run=outputs/some/run eval.ensemble=1 split=val output=elsewhere"
    retest = Retest(run="outputs/some/run", trained_by=trained_by, epochs=3)
    folder = make_run("run", command=command, retest=retest)
    (folder / "config.yaml").unlink()
    [run] = collect([tmp_path]).runs
    assert run.settings == {"algo": "maml", "eval.ensemble": "1"}
    assert run.commands == [trained_by, command]


def test_copies_in_a_loggers_store_and_earlier_results_are_no_runs(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run("run")
    for logger in ("mlflow/mlartifacts/ad/artifacts", "wandb/offline-run/files"):
        store = folder / logger
        store.mkdir(parents=True)
        for name in ("results.json", "config.yaml"):
            (store / name).write_text((folder / name).read_text())
    (folder / "results-4-epochs.json").write_text((folder / "results.json").read_text())
    for place in (folder, tmp_path):
        found = collect([place])
        assert [run.file for run in found.runs] == [folder / "results.json"]
        assert (found.unfinished, found.damaged) == ([], [])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.yaml", "defaults: [train: htym]", "of another program: it has no train.epochs"),
        ("config.yaml", "train: {epochs: 2}", "train.iterations_per_epoch is missing"),
        ("config.yaml", "", "no mapping of keys to values"),
        ("config.yaml", "a: [", "it is no YAML, line 2"),
        ("results.json", '{"loss": 0.1}', "of another program: it has none of algo, dataset"),
        ("results.json", "[]", "of another program"),
    ],
)
def test_a_file_of_another_program_is_named_and_left_out(
    make_run: MakeRun, tmp_path: Path, name: str, content: str, reason: str
) -> None:
    make_run("run")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / name).write_text(content)
    found = collect([tmp_path])
    assert len(found.runs) == 1
    assert found.unfinished == []
    [damaged] = found.damaged
    assert damaged.file == tmp_path / "site" / name
    assert reason in damaged.reason


def test_a_begun_run_says_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train: {epochs: 2, iterations_per_epoch: 50}")
    [unfinished] = collect([tmp_path]).unfinished
    assert unfinished.state == "iteration 0 of 100"
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "iteration": 30}\n{"kind": "tr')
    [unfinished] = collect([tmp_path]).unfinished
    assert unfinished.state == "iteration 30 of 100"


def test_a_damaged_file_of_results_is_named_with_its_entry(
    make_run: MakeRun, tmp_path: Path
) -> None:
    file = make_run("run") / "results.json"
    content = json.loads(file.read_text())
    for key in ("seed", "backbone"):
        file.write_text(json.dumps({k: v for k, v in content.items() if k != key}))
        [damaged] = collect([tmp_path]).damaged
        assert re.search(rf"run/results\.json: cannot be read \({key} is missing", damaged.message)
    file.write_text(json.dumps(content | {"test": 0.9}))
    [damaged] = collect([tmp_path]).damaged
    assert (damaged.file, damaged.reason) == (file, "test is not a JSON object")
