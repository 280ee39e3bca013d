"""Two processes share one run: they find what one finds, and lose nothing when one of them dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from faults.processes import outcome, pgrep, wait_for
from problems import EXPERIMENT, RUN, TRAIN, maml, shipped

from maml_cli.core.experiment import Experiment
from maml_cli.distributed import ranks
from maml_cli.storage.checkpoint import read

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
SHORT = (
    *("train.epochs=2", "train.iterations_per_epoch=10", "train.tasks_per_batch=3"),
    *("eval.val_episodes=5", "eval.test_episodes=5", "eval.ensemble=2"),
)
LONG = (
    *("algo=maml", "dataset=sinusoid", "train.epochs=4", "train.iterations_per_epoch=150"),
    *("train.tasks_per_batch=2", "eval.val_episodes=4", "eval.test_episodes=4"),
)
PICTURES = ("dataset=glyphs", "ways=3", "backbone.filters=4")
MAMLPP = ("algo=mamlpp", "algo.inner_steps=2", "train.grad_clip_norm=0.1", *PICTURES)
REPTILE = ("algo=reptile", "dataset=sinusoid", "algo.carry_moments=false")
SINUSOID = ("algo=metasgd", "dataset=sinusoid")


def shared(folder: Path, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """`maml-train` in two processes that torchrun starts."""
    words = [*TORCHRUN, *options, "-m", "maml_cli", *arguments, f"hydra.run.dir={folder}"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> str:
    """What the process wrote to its standard error, once it has ended well."""
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return errors


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        MAMLPP,
        pytest.param(REPTILE, marks=pytest.mark.faults_full),
        pytest.param(SINUSOID, marks=pytest.mark.faults_full),
    ],
)
def test_two_processes_find_what_one_finds(tmp_path, maml_train, arguments):
    arguments = (*arguments, *SHORT, f"cache_dir={tmp_path / 'cache'}")
    errors = finished(shared(tmp_path / "two", *arguments))
    assert errors.count("2 processes share the tasks of every batch") == 1
    assert maml_train(*arguments, f"hydra.run.dir={tmp_path / 'one'}").code == 0

    two, one = (read(tmp_path / name / "checkpoints" / "epoch-0002.pt") for name in ("two", "one"))
    assert (two["machine"]["processes"], one["machine"]["processes"]) == (2, 1)
    assert one["theta"].keys() == two["theta"].keys()
    for part in ("theta", "state"):
        for name, tensor in one[part].items():
            assert torch.allclose(two[part][name], tensor, rtol=0, atol=1e-6), name
    assert two["scores"] == pytest.approx(one["scores"], abs=1e-6)
    found, expected = (results(tmp_path / name) for name in ("two", "one"))
    assert found["test"]["mean"] == pytest.approx(expected["test"]["mean"], abs=1e-6)
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4  # two of training, two of validation
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "one", "two"}


def environment_of(rank: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    return (
        os.environ
        | {name: str(value) for name, value in told.items()}
        | {"MASTER_ADDR": "127.0.0.1"}
    )


@pytest.mark.parametrize(
    ("signalled", "number", "code"),
    [
        ([1], signal.SIGTERM, 143),
        pytest.param([0, 1], signal.SIGTERM, 143, marks=pytest.mark.faults_full),
        pytest.param([0, 1], signal.SIGINT, 130, marks=pytest.mark.faults_full),
    ],
)
def test_processes_stop_together(tmp_path, signalled, number, code):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "maml_cli", *LONG, f"hydra.run.dir={tmp_path / 'run'}"]
    processes = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment_of(rank, port))
        for rank in range(2)
    ]
    wait_for((tmp_path / "run" / "checkpoints" / "epoch-0001.pt").exists)
    for rank in signalled:
        processes[rank].send_signal(number)
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [code, code]
    assert errors[0].count(f"stopped by {number.name}") == 1
    assert "error" not in errors[1]
    content = read(tmp_path / "run" / "checkpoints" / "partial.pt")
    assert 150 <= content["iteration"] < 600


@pytest.mark.faults_full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_torchrun_loses_nothing(tmp_path, number):
    finished(shared(tmp_path / "whole", *LONG))
    run = shared(tmp_path / "run", *LONG)
    wait_for((tmp_path / "run" / "checkpoints" / "epoch-0001.pt").exists)
    run.send_signal(number)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1  # torchrun's own, whatever its processes end with
    assert errors.count(f"stopped by {number.name}") == 1
    stopped = read(tmp_path / "run" / "checkpoints" / "partial.pt")["iteration"]
    assert f"goes on after iteration {stopped} " in finished(shared(tmp_path / "run", *LONG))
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.faults_full
def test_a_killed_process_ends_all_and_nothing_is_lost(tmp_path):
    finished(shared(tmp_path / "whole", *LONG))
    run = shared(tmp_path / "run", *LONG)
    wait_for((tmp_path / "run" / "checkpoints" / "epoch-0002.pt").exists)
    victim = pgrep("-P", str(run.pid))[1]
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    _, errors = run.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert run.returncode != 0
    assert "SIGKILL" in errors
    assert not (tmp_path / "run" / "results.json").exists()
    assert "goes on after iteration" in finished(shared(tmp_path / "run", *LONG))
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.faults_full
def test_torchrun_starts_it_again_by_itself(tmp_path):
    finished(shared(tmp_path / "whole", *LONG))
    run = shared(tmp_path / "run", *LONG, options=("--max-restarts=1",))
    wait_for((tmp_path / "run" / "checkpoints" / "epoch-0002.pt").exists)
    os.kill(pgrep("-P", str(run.pid))[0], signal.SIGKILL)
    assert "goes on after iteration" in finished(run)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.faults_full
def test_no_process_outlives_torchrun(tmp_path):
    run = shared(tmp_path / "run", *LONG)
    wait_for((tmp_path / "run" / "checkpoints" / "epoch-0001.pt").exists)
    processes = pgrep("-P", str(run.pid))
    assert len(processes) == 2
    run.kill()
    _, errors = run.communicate(timeout=60)  # their pipe closes when all of them have ended
    assert errors.count("stopped by SIGTERM") == 1
    assert (tmp_path / "run" / "checkpoints" / "partial.pt").exists()


@pytest.mark.faults_full
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["algo=mam"], 2, "no such algo"),
        (["-m", "seed=0,1"], 2, "a sweep cannot be shared"),
        (["algo=maml", "dataset=omniglot", "data_dir=/nowhere"], 3, "/nowhere/omniglot"),
    ],
)
def test_a_mistake_is_told_once(tmp_path, arguments, code, message):
    process = shared(tmp_path / "run", *arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count(message) == 1
    assert f"exitcode  : {code} " in errors


class Unconcerned:
    """A data set that takes any settings."""

    name = "unconcerned"

    def check(self, run: object) -> list[str]:
        return []


def experiment(processes: int, **changes: Any) -> Experiment:
    parts: dict[str, Any] = {
        "run": RUN,
        "train": TRAIN,
        "eval": EXPERIMENT.eval,
        "algo": maml(),
        "dataset": Unconcerned(),
        "backbone": EXPERIMENT.backbone,
        "resolved": "",
        "command": "",
        "processes": processes,
    }
    return Experiment(**parts | changes)


def test_what_processes_cannot_share_is_refused():
    in_order = shipped("algo", "reptile")  # each task goes on with the moments of the one before
    assert experiment(2).check() == []  # two tasks
    (few,) = experiment(3).check()
    assert "tasks_per_batch=2 cannot be split over 3 processes" in few
    (order,) = experiment(2, algo=in_order).check()
    assert "2 processes cannot share them" in order
    alone = experiment(1, algo=in_order, train=replace(TRAIN, tasks_per_batch=1))
    assert alone.check() == []


@pytest.mark.parametrize(("tasks", "size"), [(2, 2), (3, 2), (8, 3), (5, 5)])
def test_every_task_is_one_process_s(monkeypatch, tasks, size):
    monkeypatch.setenv("WORLD_SIZE", str(size))
    found = []
    for rank in range(size):
        monkeypatch.setenv("RANK", str(rank))
        share = list(range(tasks))[ranks.share(tasks)]
        assert len(share) in (tasks // size, -(-tasks // size))
        found += share
    assert found == list(range(tasks))
