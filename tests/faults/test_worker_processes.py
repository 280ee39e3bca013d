"""A run whose tasks are shared out to processes: one of them dies, or the run does."""

import os
import signal
import time
from pathlib import Path

import pytest
from faults import processes
from faults.conftest import MAML
from faults.processes import LOG, ended, outcome

from maml_cli.engines.processes import AVAILABLE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs Linux")
SHARED = [*MAML, "engine=processes", "train.iterations_per_epoch=80"]
PATIENCE = 120
"""Seconds, on a machine that others use too."""


def begun(folder):
    """The run in a process group of its own, on two cores."""
    folder.mkdir(exist_ok=True)
    return processes.begun([*SHARED, f"hydra.run.dir={folder}"], folder / LOG, cores=2)


def done(folder):
    assert ended(begun(folder)) == 0
    return (folder / LOG).read_text()


def children(pid):
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status


def until(condition):
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert "engine processes (2)" in done(folder)
    return outcome(folder)


def in_the_middle(run, folder):
    """The processes that compute, once an epoch is done."""
    until((folder / "checkpoints" / "epoch-0001.pt").exists)
    found = children(run.pid)
    assert len(found) == 2
    return found


def test_a_killed_run_leaves_no_process_and_ends_the_same(tmp_path, whole):
    run = begun(tmp_path / "run")
    workers = in_the_middle(run, tmp_path / "run")
    run.kill()
    assert ended(run) == -signal.SIGKILL
    until(lambda: not any(lives(worker) for worker in workers))
    assert not (tmp_path / "run" / "results.json").exists()
    assert "goes on after iteration" in done(tmp_path / "run")
    assert outcome(tmp_path / "run") == whole


def test_a_killed_worker_stops_the_run_which_can_go_on(tmp_path, whole):
    run = begun(tmp_path / "run")
    os.kill(in_the_middle(run, tmp_path / "run")[0], signal.SIGKILL)
    assert ended(run) == 143
    printed = (tmp_path / "run" / LOG).read_text()
    assert "memory ran out" in printed
    assert "Traceback" not in printed
    assert (tmp_path / "run" / "checkpoints" / "partial.pt").exists()
    assert "goes on after iteration" in done(tmp_path / "run")
    assert outcome(tmp_path / "run") == whole


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.faults_full),
    ],
)
def test_a_signal_to_the_run_and_its_workers(tmp_path, whole, number, code):
    run = begun(tmp_path / "run")
    workers = in_the_middle(run, tmp_path / "run")
    os.killpg(run.pid, number)
    assert ended(run) == code
    printed = (tmp_path / "run" / LOG).read_text()
    assert f"stopped by {number.name}" in printed
    assert "Traceback" not in printed
    until(lambda: not any(lives(worker) for worker in workers))
    assert "goes on after iteration" in done(tmp_path / "run")
    assert outcome(tmp_path / "run") == whole
