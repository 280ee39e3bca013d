"""For all tests: one core for each operation, and `maml-train` as a function."""

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from maml_cli.commands.train import main

# One core is fastest for tensors this small; nothing above imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Recorded graphs are many small objects that live on; to look through them again and again takes a
# tenth of the time.
gc.set_threshold(100_000, 50, 50)


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pictures are decoded once for all tests, also for those that run beside these."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MAML_CACHE_DIR", str(folder / "cache"))
        yield


@pytest.fixture(autouse=True)
def own_modules_are_forgotten() -> Iterator[None]:
    """Modules that a test finds in a folder of its own are those of no later test."""
    modules, paths = set(sys.modules), sys.path[:]
    yield
    for name in set(sys.modules) - modules:
        folder = str(Path(getattr(sys.modules[name], "__file__", None) or "").parent)
        if folder in sys.path and folder not in paths:
            del sys.modules[name]
    sys.path[:] = paths


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The error messages, one each."""
        lines = self.err.splitlines()
        return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]


@pytest.fixture
def maml_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Runs `maml-train ARGUMENTS` in an empty folder, without a process of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["maml-train"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("MAML_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        handlers = logging.root.handlers[:]
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            logging.root.handlers[:] = handlers  # Hydra's write to the captured stream
        printed = capsys.readouterr()
        return Outcome(code=code, out=printed.out, err=printed.err)

    return run
