"""A run that was stopped anywhere ends, once resumed, as if it had not been."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from faults.conftest import outcome, started
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import maml_cli.assembly
from maml_cli.algos.maml import GradientLearner
from maml_cli.training import checkpoint


def at_iteration(monkeypatch, number, act):
    """Have `act` called in the middle of this iteration's meta-gradient (from 0)."""
    real = GradientLearner.meta_gradient

    def meta_gradient(self, params, episodes, progress):
        step = real(self, params, episodes, progress)
        if progress.iteration == number:
            monkeypatch.setattr(GradientLearner, "meta_gradient", real)
            act()
        return step

    monkeypatch.setattr(GradientLearner, "meta_gradient", meta_gradient)


@pytest.mark.parametrize(
    ("iteration", "number", "code"),
    [
        (0, signal.SIGTERM, 143),
        (7, signal.SIGINT, 130),
        (12, signal.SIGUSR1, 143),
        (25, signal.SIGUSR2, 143),
        (51, signal.SIGTERM, 143),
    ],
)
def test_a_signal_stops_with_a_checkpoint(
    monkeypatch, tmp_path, run_to, uninterrupted, iteration, number, code
):
    at_iteration(monkeypatch, iteration, lambda: os.kill(os.getpid(), number))
    stopped = run_to(tmp_path / "run")
    assert stopped.code == code
    assert number.name in stopped.errors[0]
    assert "Traceback" not in stopped.err
    content = checkpoint.read(tmp_path / "run" / "checkpoints" / "partial.pt")
    assert content["iteration"] == iteration  # that iteration was given up, not half done
    resumed = run_to(tmp_path / "run")
    assert resumed.code == 0
    assert f"goes on after iteration {iteration} " in resumed.err
    assert outcome(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_signal_during_evaluation(monkeypatch, tmp_path, run_to, uninterrupted, split):
    real, signalled = maml_cli.assembly.evaluate, []

    def evaluate(*arguments, **options):
        if options["split"] == split and not signalled:
            signalled.append(split)
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    monkeypatch.setattr(maml_cli.assembly, "evaluate", evaluate)
    assert run_to(tmp_path / "run").code == 143
    assert signalled == [split]
    assert run_to(tmp_path / "run").code == 0
    assert outcome(tmp_path / "run") == uninterrupted


def test_the_time_limit(monkeypatch, tmp_path, run_to, uninterrupted):
    at_iteration(monkeypatch, 5, lambda: time.sleep(0.4))
    stopped = run_to(tmp_path / "run", "train.max_time=0.005")
    assert stopped.code == 143
    assert "time limit of 0.005 minutes" in stopped.errors[0]
    assert run_to(tmp_path / "run").code == 0  # the limit itself may change
    assert outcome(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize("algo", ["maml", "fomaml", "mamlpp"])
@pytest.mark.parametrize("iteration", [13, 30])
def test_every_algorithm_resumes_exactly(monkeypatch, tmp_path, run_to, algo, iteration):
    assert run_to(tmp_path / "whole", f"algo={algo}").code == 0
    at_iteration(monkeypatch, iteration, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert run_to(tmp_path / "run", f"algo={algo}").code == 143
    assert run_to(tmp_path / "run", f"algo={algo}").code == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    ("epoch", "written"), [(1, "temporary"), (3, "nothing"), (3, "temporary"), (3, "renamed")]
)
def test_the_end_in_the_middle_of_a_save(
    monkeypatch, tmp_path, run_to, uninterrupted, written, epoch
):
    class Killed(BaseException):
        pass

    real = checkpoint.write_atomically

    def write(path: Path, content: bytes) -> None:
        if path.name != f"epoch-{epoch:04d}.pt":
            real(path, content)
            return
        if written == "temporary":
            path.parent.mkdir(exist_ok=True)
            path.with_name(f".{path.name}.1").write_bytes(content[:1000])
        if written == "renamed":
            real(path, content)
        raise Killed

    with monkeypatch.context() as fault:
        fault.setattr(checkpoint, "write_atomically", write)
        with pytest.raises(Killed):
            run_to(tmp_path / "run")
    assert run_to(tmp_path / "run").code == 0
    assert outcome(tmp_path / "run") == uninterrupted
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def kill_until_done(folder: Path, kills: int, dice: random.Random) -> int:
    """Kill the run that often, at random moments of its training; how often it was killed."""
    killed = 0
    while True:
        process = started(folder)
        try:
            process.communicate(timeout=dice.uniform(2, 4) if killed < kills else 120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
        else:
            assert process.returncode == 0
            return killed


def test_a_kill_in_a_process_of_its_own(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    process = started(folder)
    deadline = time.monotonic() + 60
    while not (folder / "checkpoints" / "epoch-0002.pt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "results.json").exists()
    process = started(folder)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "goes on after iteration" in errors
    assert outcome(folder) == uninterrupted
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    steps = [event.step for event in events.Scalars("val/mse")]
    assert steps == [13, 26, 39, 52]


@pytest.mark.faults_full
@pytest.mark.parametrize("seed", range(20))
def test_many_kills_at_random(tmp_path, uninterrupted, seed):
    assert kill_until_done(tmp_path / "run", 5, random.Random(seed)) > 0
    assert outcome(tmp_path / "run") == uninterrupted


def test_a_second_signal_leaves_at_once(monkeypatch):
    from maml_cli.training.signals import Stop, StopRequests

    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr("maml_cli.training.signals.REPEAT_SECONDS", 0.05)
    with StopRequests() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # as `timeout` does: still one request
        assert left == []
        with pytest.raises(Stop):
            stop.check()
        time.sleep(0.06)
        os.kill(os.getpid(), signal.SIGINT)
        assert left == [130]
