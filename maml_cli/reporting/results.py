"""`results.json`, and the environment in which the results were found."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from maml_cli.core.records import Curves, RunInfo, Sink
from maml_cli.core.results import Environment, RunResults
from maml_cli.core.types import Episode
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder

PACKAGES = ("maml-train", "torch", "torchvision", "hydra-core", "omegaconf", "numpy", "scipy")


class ResultsFile(Sink):
    """Writes `results.json` in whole or not at all."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).results

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        write_atomically(self._path, results.to_json())


def environment(*, device: str, engine: str) -> Environment:
    """This process's environment; what cannot be found out is None. Never fails."""
    return Environment(
        device=device,
        engine=engine,
        versions={
            "python": platform.python_version(),
            **{package: _version(package) for package in PACKAGES},
        },
        platform=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        threads=torch.get_num_threads(),
        git=_git(Path(__file__).parents[2]),
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{model} ({os.cpu_count()} cores)"


def _git(checkout: Path) -> str | None:
    if not (checkout / ".git").exists():  # installed, perhaps inside somebody else's checkout
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(  # noqa: S603 (a constant command)
            command, cwd=checkout, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
