"""`resume=DIR` by itself, time limits, and bugs that cannot be written down."""

import errno
import json
from pathlib import Path

import pytest
import yaml

import maml_cli.runs.train

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
    assert f"resume={folder} goes on with it" in limited.err
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
    assert maml_train(*TINY, f"resume={stopped}", "seed=7").code == 0
    other = maml_train(*TINY, f"resume={stopped}", "seed=8")
    assert other.code == 4
    assert other.errors[1:] == ["seed: it has 7, now asked for is 8"]


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

    real = Path.write_text

    def write_text(path: Path, *arguments: object, **options: object) -> int:
        if full and path.name == "error.log":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *arguments, **options)

    monkeypatch.setattr(maml_cli.runs.train, "run", run)
    monkeypatch.setattr(Path, "write_text", write_text)
    failed = maml_train(*TINY, f"hydra.run.dir={tmp_path / 'run'}")
    assert failed.code == 1
    assert "bug: ZeroDivisionError: injected; details" in failed.err
    assert ("Traceback" in failed.err) == full
    assert (tmp_path / "run" / "error.log").exists() != full
