"""Tiny runs, in this process or in one of their own, and what of them must be the same."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TINY = (
    *("algo=maml", "dataset=sinusoid", "train.epochs=4", "train.iterations_per_epoch=13"),
    *("train.tasks_per_batch=2", "eval.val_episodes=4", "eval.test_episodes=4"),
)


def started(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`maml-train` on the sinusoid in a process of its own."""
    command = [sys.executable, "-m", "maml_cli", *TINY, *arguments, f"hydra.run.dir={folder}"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def outcome(folder: Path) -> dict[str, Any]:
    """What an interruption must not change, down to the last bit."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    results = json.loads((folder / "results.json").read_text())
    for record in lines:
        record.pop("iterations_per_second", None)
    last = torch.load(folder / "checkpoints" / "epoch-0004.pt", weights_only=True)
    weights = hashlib.sha256()
    for name, tensor in last["theta"].items():
        weights.update(name.encode() + tensor.numpy().tobytes())
    return {
        "theta": weights.hexdigest(),
        "metrics": lines,
        **{key: results[key] for key in ("test", "test_single", "test_per_step", "val")},
    }


@pytest.fixture
def run_to(maml_train: Callable) -> Callable:
    """Runs the tiny experiment in this process; further arguments win."""

    def run(folder: Path, *arguments: str) -> Any:
        return maml_train(*TINY, *arguments, f"hydra.run.dir={folder}")

    return run


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of the tiny run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = started(folder)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return outcome(folder)
