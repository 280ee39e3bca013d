"""Disks that are full or read-only, folders in use or gone, consoles that cannot show a sign."""

import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from faults.conftest import MAML
from faults.processes import LOG, begun, done, ended, outcome

from maml_cli.storage import files
from maml_cli.storage.checkpoint import read
from maml_cli.storage.files import locked


@pytest.mark.parametrize("epoch", [pytest.param(1, marks=pytest.mark.faults_full), 3])
def test_a_full_disk_keeps_what_there_was(tmp_path, run_to, monkeypatch, uninterrupted, epoch):
    real, faults = files.os.fsync, []

    def fsync(descriptor: int) -> None:
        folder = tmp_path / "run" / "checkpoints"
        if list(folder.glob(f".epoch-{epoch:04d}.pt.*")):
            faults.append(descriptor)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as fault:
        fault.setattr(files.os, "fsync", fsync)
        full = run_to(tmp_path / "run")
    assert faults
    assert full.code == 6
    assert f"epoch-{epoch:04d}.pt: cannot be written (No space left on device)" in full.errors[0]
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    assert run_to(tmp_path / "run").code == 0
    assert outcome(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize(
    "bytes_",
    [
        *(3000, 20_000),
        *(
            pytest.param(size, marks=pytest.mark.faults_full)
            for size in (500, 1500, 5000, 10_000, 40_000, 60_000, 75_000)
        ),
    ],
)
def test_a_file_that_may_not_grow(tmp_path, uninterrupted, bytes_):
    """By size, what cannot be written: configuration, metrics, checkpoints, events, curves."""
    folder = tmp_path / "run"
    folder.mkdir()
    assert ended(begun([*MAML, f"hydra.run.dir={folder}"], folder / LOG, largest_file=bytes_)) == 6
    printed = (folder / LOG).read_text()
    assert "cannot be written (File too large)" in printed
    assert "Traceback" not in printed
    for path in (folder / "checkpoints").glob("*"):
        read(path)
    done(folder, *MAML)
    assert outcome(folder) == uninterrupted


def test_a_full_disk_under_the_metrics(tmp_path, run_to, monkeypatch):
    place = Path("/dev/full").open("wb")  # noqa: SIM115 - the sink closes it
    monkeypatch.setattr("maml_cli.reporting.metrics.open_regular", lambda *_: place)
    full = run_to(tmp_path / "run")
    assert full.code == 6
    assert "metrics.jsonl: cannot be written (No space left on device)" in full.errors[0]


def test_a_second_process_is_refused(tmp_path, run_to):
    with locked(tmp_path / "run"):
        refused = run_to(tmp_path / "run")
    assert refused.code == 4
    assert "another process is writing this run" in refused.errors[0]
    assert run_to(tmp_path / "run").code == 0


def test_of_three_processes_in_one_folder_one_runs(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    folder.mkdir()
    words = [*MAML, f"hydra.run.dir={folder}"]
    racing = [begun(words, folder / f"{number}.txt") for number in range(3)]
    codes = sorted(ended(process) for process in racing)
    assert codes[0] == 0
    assert set(codes) <= {0, 4}  # one that came late found the run done
    assert outcome(folder) == uninterrupted


def test_four_runs_of_the_same_second_have_folders_of_their_own(tmp_path):
    few = ("train.epochs=1", "train.iterations_per_epoch=1")
    racing = [begun([*MAML, *few], tmp_path / f"{number}.txt") for number in range(4)]
    assert [ended(process) for process in racing] == [0] * 4
    assert len(list(tmp_path.glob("outputs/*/*/*/results.json"))) == 4


def test_a_file_in_place_of_the_checkpoints(tmp_path, run_to):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("mine")
    assert run_to(tmp_path / "run").code == 6
    assert (tmp_path / "run" / "checkpoints").read_text() == "mine"


def test_a_folder_that_nobody_may_write(run_to):
    refused = run_to(Path("/proc/run"))
    assert refused.code == 6
    assert "/proc/run" in refused.errors[0]


def test_no_home(tmp_path, run_to, monkeypatch):
    monkeypatch.delenv("HOME")
    assert run_to(tmp_path / "run").code == 0


def test_a_working_folder_that_is_gone(tmp_path, run_to, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    refused = run_to(tmp_path / "run")
    assert refused.code == 6
    assert refused.errors == ["the folder you are in is gone: cd to one that is there"]


@pytest.mark.parametrize("redirection", ["", ">&-"])
def test_a_console_that_shows_ascii_only_or_nothing(tmp_path, redirection):
    few = ("train.epochs=1", "train.iterations_per_epoch=1", f"hydra.run.dir={tmp_path / 'run'}")
    command = shlex.join([sys.executable, "-m", "maml_cli", *MAML, *few])
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    shell = ["bash", "-c", f"{command} {redirection}"]
    ran = subprocess.run(
        shell, env=os.environ | plain, capture_output=True, timeout=300, check=False
    )
    assert b"Traceback" not in ran.stderr
    assert ran.returncode == 0
    assert "±" in (tmp_path / "run" / "table.md").read_text(encoding="utf-8")
