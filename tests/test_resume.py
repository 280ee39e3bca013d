"""`resume=DIR` by itself, time limits, and bugs that cannot be written down."""

import json
from pathlib import Path

import pytest
import yaml

import maml_cli.runs.train
import maml_cli.storage.files
from maml_cli.core.errors import StorageError

TINY = (
    *("algo=metasgd", "dataset=sinusoid", "train.epochs=2", "train.iterations_per_epoch=3"),
    *("train.tasks_per_batch=2", "eval.val_episodes=2", "eval.test_episodes=2"),
)
AT_ONCE = "train.max_time=1e-9"


@pytest.fixture
def stopped(tmp_path, maml_train):
    """The folder of a run of `algo=metasgd seed=7` that was stopped at its first iteration."""
    folder = tmp_path / "run"
    limited = maml_train(*TINY, "seed=7", AT_ONCE, f"hydra.run.dir={folder}")
    assert limited.code == 143
    assert f"to go on: maml-train resume={folder}" in limited.err
    return folder


def test_the_folder_alone_is_enough(stopped, maml_train, tmp_path):
    again = maml_train(f"resume={stopped}")
    assert again.code == 143  # its time limit is part of the configuration
    ended = maml_train(f"resume={stopped}", "train.max_time=null")
    assert ended.code == 0
    assert "metasgd on sinusoid, 10-shot, seed 7" in ended.err
    assert maml_train(*TINY, "seed=7", f"hydra.run.dir={tmp_path / 'whole'}").code == 0
    found, whole = (
        json.loads((folder / "results.json").read_text())
        for folder in (stopped, tmp_path / "whole")
    )
    assert found["test_per_step"] == whole["test_per_step"]
    assert found["command"] == f"{whole['command']} {AT_ONCE}"  # as it was begun
    kept = yaml.safe_load((stopped / "config.yaml").read_text())
    assert (kept["seed"], kept["train"]["max_time"]) == (7, None)


def test_what_else_is_typed_must_agree(stopped, maml_train):
    free = "train.max_time=null"
    ended = maml_train(*TINY, f"resume={stopped}", "seed=7", free, "engine=loop")
    assert ended.code == 0
    assert "engine was graph, is loop: the run goes on" in ended.err
    assert json.loads((stopped / "results.json").read_text())["remarks"] == []  # at iteration 0
    other = maml_train(*TINY, f"resume={stopped}", "seed=8")
    assert other.code == 4
    assert other.errors[1:] == ["seed: it has 7, now asked for is 8"]
    alone = maml_train(f"resume={stopped}", "train.outer_lr=0.5")
    assert alone.errors[1:] == ["train.outer_lr: it has 0.001, now asked for is 0.5"]
    assert maml_train(f"resume={stopped}", "seed=x").code == 2


def test_a_finished_run_is_trained_on(maml_train, tmp_path):
    run = tmp_path / "run (1)"
    tiny = [*TINY, "algo=mamlpp", "algo.bnrs=false", "algo.bnwb=false", "seed=7"]
    assert maml_train(*tiny, f"hydra.run.dir={run}").code == 0
    longer = maml_train(f"resume={run}", "train.epochs=4", "engine=loop")
    assert longer.code == 0, longer.err
    assert "engine was graph, is loop: the run goes on" in longer.err
    assert "the outer rate ends with the last epoch: it goes on at" in longer.err
    found = json.loads((run / "results.json").read_text())
    assert found["iterations"] == 12
    assert found["remarks"] == [
        "engine graph until iteration 6, then loop",
        "trained for 2 epochs, and then on to 4",
    ]
    assert found["command"].endswith(" train.epochs=4")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if "val" in line or "split" in line][-1] in (3, 4)
    shown = maml_train(f"resume={run}")
    assert "holds this run, finished" in shown.err
    assert maml_train(f"resume={run}", "train.epochs=3").code == 4  # it has more already


def test_an_extension_that_is_stopped_goes_on(maml_train, tmp_path):
    run = tmp_path / "run"
    assert maml_train(*TINY, "seed=7", f"hydra.run.dir={run}").code == 0
    assert maml_train(f"resume={run}", "train.epochs=4", AT_ONCE).code == 143
    assert maml_train(f"resume={run}", "train.max_time=null").code == 0
    found = json.loads((run / "results.json").read_text())
    assert found["iterations"] == 12
    assert found["remarks"] == ["trained for 2 epochs, and then on to 4"]
    assert (
        maml_train(*TINY, "seed=7", "train.epochs=4", f"hydra.run.dir={tmp_path / 'w'}").code == 0
    )
    whole = json.loads((tmp_path / "w" / "results.json").read_text())
    assert found["test_per_step"] == whole["test_per_step"]  # its rate is constant


def test_a_run_starts_from_anothers_weights(maml_train, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert maml_train(*TINY, "seed=1", f"hydra.run.dir={first}").code == 0
    wide = maml_train(
        *TINY, "seed=2", f"init_from={first}", "backbone.hidden=[40,20]", f"hydra.run.dir={second}"
    )
    assert wide.code == 0, wide.err
    (remark,) = json.loads((second / "results.json").read_text())["remarks"]
    assert remark.startswith(f"started from 6 of 12 tensors of {first}; not taken: ")
    assert "model.head.weight would have to be 1 x 20, but is 1 x 40" in remark
    refused = maml_train(*TINY, f"init_from={tmp_path}", f"hydra.run.dir={tmp_path / 'third'}")
    assert refused.code == 4
    assert refused.errors == [
        f"init_from={tmp_path}: holds no run with a finished epoch: name the folder of a run"
    ]


@pytest.mark.parametrize("key", ["resume", "init_from"])
def test_a_part_of_a_run_names_the_run(maml_train, tmp_path, key):
    run = tmp_path / "run"
    part = run / "checkpoints"
    part.mkdir(parents=True)
    (run / "config.yaml").write_text("")
    refused = maml_train(*TINY, f"{key}={part}", f"hydra.run.dir={tmp_path / 'new'}")
    assert refused.code == 4
    assert f"write {key}={run}, the folder of the run" in refused.err


def test_a_folder_without_a_run(maml_train, tmp_path):
    refused = maml_train("resume=nothing")
    assert refused.code == 4
    assert refused.errors == ["resume=nothing: no checkpoint is in nothing/checkpoints"]
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"ways: [", "cannot be read"), (b"- 1", "not the configuration"), (b"ways: 1", "of this")],
)
def test_a_damaged_configuration(stopped, maml_train, content, message):
    (stopped / "config.yaml").write_bytes(content)
    refused = maml_train(f"resume={stopped}")
    assert refused.code == 4
    assert str(stopped / "config.yaml") in refused.errors[0]
    assert message in refused.errors[0]
    assert (stopped / "config.yaml").read_bytes() == content


def test_the_time_limit_is_that_of_each_job_of_a_sweep(maml_train, tmp_path):
    sweep = ("-m", *TINY, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert maml_train(*sweep, AT_ONCE).code == 143
    for job in "01":
        assert (tmp_path / "sweep" / job / "checkpoints" / "partial.pt").is_file()
    assert maml_train(*sweep).code == 0
    assert "no result" not in (tmp_path / "sweep" / "table.md").read_text()


@pytest.mark.parametrize("full", [False, True])
def test_a_bug_is_told_where_its_log_cannot_be_written(monkeypatch, tmp_path, maml_train, full):
    def run(experiment: object, output_dir: Path) -> None:  # noqa: ARG001
        raise ZeroDivisionError("injected")

    real = maml_cli.storage.files.write_atomically

    def write_atomically(path: Path, content: str) -> None:
        if full and path.name == "error.log":
            raise StorageError("No space left on device")
        real(path, content)

    monkeypatch.setattr(maml_cli.runs.train, "run", run)
    monkeypatch.setattr("maml_cli.storage.files.write_atomically", write_atomically)
    failed = maml_train(*TINY, f"hydra.run.dir={tmp_path / 'run'}")
    assert failed.code == 1
    assert "bug: ZeroDivisionError: injected; details" in failed.err
    assert ("Traceback" in failed.err) == full
    assert (tmp_path / "run" / "error.log").exists() != full
