"""A run that is killed, whenever and however often, ends as if it had not been."""

import random
import signal
import time
from pathlib import Path

import pytest
from faults.conftest import MAML
from faults.processes import ALGORITHMS, arguments_for, done, ended, fits, outcome, started
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from maml_cli.storage import checkpoint


def kill_at_random(folder: Path, arguments: list[str], kills: int, dice: random.Random) -> int:
    """Kill runs with -9 at random moments until so many were hit; how many runs it took.

    Each run is killed five times at most, then ends in peace and is compared with one that nothing
    disturbed.
    """
    begun = time.monotonic()
    done(folder / "whole", *arguments)
    seconds = time.monotonic() - begun
    runs = killed = 0
    while killed < kills:
        run = folder / str(runs)
        for _ in range(min(5, kills - killed)):
            process = started(run, *arguments)
            process.join(dice.uniform(0, seconds))
            if process.exitcode is not None:
                seconds *= 0.8  # fewer processes share the machine than when it was measured
                break
            process.kill()
            killed += ended(process) == -signal.SIGKILL
        done(run, *arguments)
        assert outcome(run) == outcome(folder / "whole")
        assert not list((run / "checkpoints").glob(".*"))
        runs += 1
    return runs


@pytest.mark.usefixtures("uninterrupted")  # processes start fast from now on
def test_three_kills_at_random(tmp_path):
    kill_at_random(tmp_path, arguments_for("mamlpp", "sinusoid"), 3, random.Random(0))


@pytest.mark.faults_full
@pytest.mark.usefixtures("uninterrupted")
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_ten_kills_of_every_algorithm_at_random(tmp_path, algo):
    names = ("sinusoid", "quadratics", "glyphs")
    dataset = next(name for name in names if fits(algo, name))
    kill_at_random(tmp_path, arguments_for(algo, dataset), 10, random.Random(algo))


def test_a_kill_after_the_second_epoch(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    process = started(folder, *MAML)
    while not (folder / "checkpoints" / "epoch-0002.pt").exists():
        assert process.exitcode is None
        time.sleep(0.005)
    process.kill()
    assert ended(process) == -signal.SIGKILL
    assert not (folder / "results.json").exists()
    assert "goes on after iteration" in done(folder, *MAML)
    assert outcome(folder) == uninterrupted
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("val/mse")] == [13, 26, 39, 52]
    losses = [event.step for event in events.Scalars("train/loss")]
    assert losses == [
        record["iteration"] for record in uninterrupted["metrics"] if "loss" in record
    ]


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
