"""The tiny run that the faults are injected into, and its outcome when nothing disturbs it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from faults.processes import arguments_for, done, outcome

from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.core.errors import CheckpointError
from maml_cli.runs.train import run
from maml_cli.storage.checkpoint import Checkpoints

MAML = arguments_for("maml", "sinusoid")


@pytest.fixture
def run_to(maml_train: Callable) -> Callable:
    """Runs the tiny experiment in this process; further arguments win."""

    def run_there(folder: Path, *arguments: str) -> Any:
        return maml_train(*MAML, *arguments, f"hydra.run.dir={folder}")

    return run_there


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of the tiny run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    done(folder, *MAML)
    return outcome(folder)


@pytest.fixture(scope="session")
def _broken_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken_off") / "run"
    experiment = build(Composer().compose(MAML), "maml-train")
    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(Checkpoints, "load", Mock(side_effect=CheckpointError("broken off")))
        with pytest.raises(CheckpointError):
            run(experiment, folder)
    return folder


@pytest.fixture
def broken_off(tmp_path: Path, _broken_off: Path) -> Path:
    """The folder of a run whose test never came: `epoch-0002.pt` to `0004` are there."""
    return Path(shutil.copytree(_broken_off, tmp_path / "run"))
