"""A sweep in a fixed folder: done jobs are skipped, broken ones go on, one does not stop others."""

import os
import signal
import subprocess
import sys
import time

import pytest
from faults.conftest import TINY, outcome

from maml_cli.core.errors import DivergedError
from maml_cli.training.loop import Trainer

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def test_a_sweep_survives_a_failing_job(tmp_path, maml_train, run_to, monkeypatch, uninterrupted):
    folder = tmp_path / "sweep"
    sweep = ("-m", *TINY, "seed=0,1,2", f"hydra.sweep.dir={folder}")
    real = Trainer._end_epoch

    def end_epoch(self, run):
        if self.source._seed == 1 and run.epoch == 1:
            raise DivergedError("injected")
        real(self, run)

    with monkeypatch.context() as fault:
        fault.setattr(Trainer, "_end_epoch", end_epoch)
        first = maml_train(*sweep)
    assert first.code == 5
    assert "injected" in first.err
    lines = (folder / "table.md").read_text().splitlines()[2:5]
    assert ["no result" in line for line in lines] == [False, True, False]

    second = maml_train(*sweep)
    assert second.code == 0
    assert second.err.count("holds this run, finished") == 2
    assert second.err.count("goes on after iteration 13 ") == 1
    assert "no result" not in (folder / "table.md").read_text()
    assert outcome(folder / "0") == uninterrupted
    assert run_to(tmp_path / "alone", "seed=1").code == 0
    assert outcome(folder / "1") == outcome(tmp_path / "alone")


@pytest.mark.faults_full
def test_a_parallel_sweep_leaves_no_workers_and_is_completed(tmp_path, uninterrupted):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    folder = tmp_path / "sweep"
    words = ("-m", *TINY, *JOBLIB, "seed=0,1,2,3", f"hydra.sweep.dir={folder}")
    command = [sys.executable, "-m", "maml_cli", *words]
    sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(folder.glob("*/checkpoints/epoch-0001.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = workers_of(sweep.pid)
    assert workers
    sweep.send_signal(signal.SIGTERM)
    sweep.wait(timeout=5)
    time.sleep(5)
    assert [pid for pid in workers if alive(pid)] == []
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0
    table = (folder / "table.md").read_text()
    assert table.count("mse") == 4
    assert "no result" not in table
    assert outcome(folder / "0") == uninterrupted


def workers_of(parent: int) -> list[int]:
    listed = subprocess.run(
        ["pgrep", "-P", str(parent), "-f", "popen_loky_posix"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line) for line in listed.stdout.split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
