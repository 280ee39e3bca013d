"""The tiny run that the faults are injected into, and its outcome when nothing disturbs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from faults.processes import arguments_for, done, outcome

from maml_cli.core.errors import CheckpointError
from maml_cli.storage.checkpoint import Checkpoints

MAML = arguments_for("maml", "sinusoid")


@pytest.fixture
def run_to(maml_train: Callable) -> Callable:
    """Runs the tiny experiment in this process; further arguments win."""

    def run(folder: Path, *arguments: str) -> Any:
        return maml_train(*MAML, *arguments, f"hydra.run.dir={folder}")

    return run


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of the tiny run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    done(folder, *MAML)
    return outcome(folder)


@pytest.fixture
def broken_off(tmp_path: Path, run_to: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run whose test never came: `epoch-0002.pt` to `0004` are there."""
    with monkeypatch.context() as fault:
        fault.setattr(Checkpoints, "load", Mock(side_effect=CheckpointError("broken off")))
        assert run_to(tmp_path / "run").code == 4
    return tmp_path / "run"
