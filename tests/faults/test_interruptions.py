"""A run that was stopped anywhere ends, once resumed, as if it had not been."""

import os
import random
import signal
import time

import pytest
from faults.conftest import MAML
from faults.processes import LOG, done, ended, outcome, started

import maml_cli.runs.assembly
from maml_cli.engines.recorded import Recorded
from maml_cli.storage import checkpoint


def at_iteration(monkeypatch, number, act):
    """Have `act` called in the middle of this iteration's meta-gradient (from 0)."""
    real = Recorded.meta_gradient

    def meta_gradient(self, params, episodes, progress):
        step = real(self, params, episodes, progress)
        if progress.iteration == number:
            monkeypatch.setattr(Recorded, "meta_gradient", real)
            act()
        return step

    monkeypatch.setattr(Recorded, "meta_gradient", meta_gradient)


@pytest.mark.parametrize(
    ("iteration", "number", "code"),
    [
        (0, signal.SIGTERM, 143),
        (12, signal.SIGINT, 130),
        (51, signal.SIGUSR1, 143),
        pytest.param(7, signal.SIGTERM, 143, marks=pytest.mark.faults_full),
        pytest.param(13, signal.SIGHUP, 143, marks=pytest.mark.faults_full),
        pytest.param(25, signal.SIGUSR2, 143, marks=pytest.mark.faults_full),
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
    real, signalled = maml_cli.runs.assembly.evaluate, []

    def evaluate(*arguments, **options):
        if options["split"] == split and not signalled:
            signalled.append(split)
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    monkeypatch.setattr(maml_cli.runs.assembly, "evaluate", evaluate)
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


@pytest.mark.parametrize(
    ("seed", "signals"),
    [(0, 2), *(pytest.param(n, 5, marks=pytest.mark.faults_full) for n in range(1, 12))],
)
def test_signals_at_random_to_a_process_of_its_own(tmp_path, uninterrupted, seed, signals):
    dice = random.Random(seed)
    sent = 0
    for number in range(100):
        folder = tmp_path / str(number)
        process = started(folder, *MAML)
        while not (folder / "metrics.jsonl").exists():  # before that, nothing is begun
            time.sleep(0.01)
        process.join(dice.uniform(0, 1))
        if process.exitcode is not None:
            continue
        which = dice.choice([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
        os.kill(process.pid, which)
        begun = time.monotonic()
        code = ended(process)
        if (folder / "results.json").exists():
            continue  # it was done before the signal came
        sent += 1
        assert code == (130 if which == signal.SIGINT else 143)
        assert time.monotonic() - begun < 5
        assert "Traceback" not in (folder / LOG).read_text()
        done(folder, *MAML)
        assert outcome(folder) == uninterrupted
        if sent == signals:
            return
    pytest.fail(f"only {sent} signals hit a run")


def test_nohup_is_heard(monkeypatch, tmp_path, run_to):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        sent = []
        at_iteration(monkeypatch, 3, lambda: sent.append(os.kill(os.getpid(), signal.SIGHUP)))
        assert run_to(tmp_path / "run").code == 0
        assert len(sent) == 1
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
