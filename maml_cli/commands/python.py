"""The commands as functions: `maml_cli.train` and `maml_cli.load`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maml_cli.commands.adapt import CHANGEABLE, alone
from maml_cli.config.trained import trained_experiment
from maml_cli.core.errors import UsageError, UserError
from maml_cli.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from maml_cli.runs.model import Model


def train(arguments: Sequence[str]) -> dict[str, Any]:
    """See `maml_cli.train`."""
    from maml_cli.runs.trained import now

    words = list(arguments)
    if {"-m", "--multirun"} & set(words):
        raise UsageError("a sweep has many results: call train once for each, or type maml-train")
    places = [w.partition("=")[2] for w in words if w.startswith(("hydra.run.dir=", "resume="))]
    folder = Path(places[-1] if places else f"outputs/python/{now()}")
    if not places:
        words.append(f"hydra.run.dir={folder}")
    command = [sys.executable, "-m", "maml_cli", *words]
    said = []
    with subprocess.Popen(  # noqa: S603 -- this program itself
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)  # a notebook does not show what other processes print
            said.append(line.rstrip())
    if process.returncode:
        typed = shlex.join(["maml-train", *words])
        raise UserError(f"{typed} ended with exit code {process.returncode}", *said[-5:])
    return {"folder": str(folder), **json.loads(RunFolder(folder).results.read_text())}


def load(run: str | PathLike[str], *overrides: str) -> Model:
    """See `maml_cli.load`."""
    folder = Path(fspath(run))
    command = shlex.join(["maml-adapt", f"run={folder}", *overrides])
    experiment = trained_experiment(
        folder, overrides, changeable=CHANGEABLE, others=(), command=command
    )
    from maml_cli.runs.model import Model

    return Model(folder, alone(experiment, overrides))
