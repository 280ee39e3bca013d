"""Readers that go away, `| head -1` and closed terminals: what is printed is lost, nothing else."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
from faults.conftest import MAML
from faults.processes import done

TRAIN = ("maml_cli.commands.train", *MAML, "train.epochs=1", "train.iterations_per_epoch=3")


def python(code: str, output: int, *arguments: str) -> subprocess.Popen[bytes]:
    """A program that prints into this file, standard error too."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=output, stderr=output)


def begun(output: int, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """The command of this module."""
    return python(f"import sys; from {module} import main; sys.exit(main())", output, *arguments)


@pytest.fixture
def broken_pipe() -> Iterator[int]:
    """What is written to it fails: nobody will read it."""
    reader, writer = os.pipe()
    os.close(reader)
    plain = python("print('lost', flush=True)", writer)
    assert plain.wait(60) in (1, 120)  # 120: Python fails again when it ends, if it buffers
    yield writer
    os.close(writer)


def test_a_training_ends_well_without_a_reader(tmp_path, broken_pipe):
    assert begun(broken_pipe, *TRAIN, f"hydra.run.dir={tmp_path}").wait(300) == 0
    assert (tmp_path / "results.json").exists()


def test_a_training_ends_well_without_its_terminal(tmp_path):
    terminal, end = pty.openpty()
    run = begun(end, *TRAIN, f"hydra.run.dir={tmp_path}")
    os.close(end)
    assert os.read(terminal, 1)
    os.close(terminal)  # what is written from now on fails
    assert not (tmp_path / "results.json").exists()
    assert run.wait(300) == 0
    assert (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, ["maml_cli.commands.train", "--help"]),
        (2, ["maml_cli.commands.train", "algo=mam"]),
        (2, ["maml_cli.commands.evaluate"]),
        (0, ["maml_cli.commands.data", "dataset=sinusoid"]),
        (0, ["maml_cli.commands.report", "--help"]),
    ],
)
def test_other_commands_end_as_they_would(tmp_path, monkeypatch, broken_pipe, code, words):
    monkeypatch.chdir(tmp_path)
    assert begun(broken_pipe, *words).wait(300) == code


def test_a_report_ends_well_without_a_reader(tmp_path, broken_pipe):
    done(tmp_path / "run", *TRAIN[1:])
    for form in ("terminal", "markdown"):
        words = ("maml_cli.commands.report", str(tmp_path), "--format", form)
        assert begun(broken_pipe, *words).wait(300) == 0


@pytest.mark.faults_full
def test_a_sweep_side_by_side_ends_well_without_a_reader(tmp_path, broken_pipe):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs maml-train[sweep]")
    command, *words = TRAIN
    jobs = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1")
    sweep = begun(broken_pipe, command, "-m", *words, *jobs, f"hydra.sweep.dir={tmp_path}")
    assert sweep.wait(300) == 0
    assert len(list(tmp_path.glob("*/results.json"))) == 2
