"""Runs of `maml-train` in processes of their own, which can be killed, and what must survive."""

import hashlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from maml_cli.commands.train import main
from maml_cli.config import check
from maml_cli.config.compose import Composer
from maml_cli.config.paths import conf_dir

ALGORITHMS = sorted(path.stem for path in (conf_dir() / "algo").glob("*.yaml"))
TINY = (
    *("train.epochs=4", "train.iterations_per_epoch=13", "train.tasks_per_batch=2"),
    *("eval.val_episodes=4", "eval.test_episodes=4"),
)
FEW = 2
"""More steps and samples take longer, and are interrupted in the same way."""
UNROLLS = ["algo.inner_steps=3", "algo.unroll=1"]
"""Of three iterations on a problem, some end between two epochs."""
SMALL_IMAGES = ("backbone.filters=4", "ways=3", "queries=2")
LOG = "log.txt"
_LIMIT = 300
"""Seconds after which a run must have ended, on a machine that others use too."""

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(  # what takes seconds to import is imported once for all
    ["maml_cli.runs.train", "torch._dynamo", "scipy.optimize", __name__]
)


def fits(algo: str, dataset: str) -> bool:
    """Whether the algorithm is for such a data set."""
    return not check.problems(arguments_for(algo, dataset))


def arguments_for(algo: str, dataset: str) -> list[str]:
    """A tiny run of the algorithm on the data set."""
    chosen = [f"algo={algo}", f"dataset={dataset}"]
    config = Composer().compose(chosen)
    numbers = ("algo.inner_steps", "algo.samples", "eval.inner_steps")
    few = [f"{key}={FEW}" for key in numbers if (OmegaConf.select(config, key) or 0) > FEW]
    if "unroll" in config.algo:
        few += UNROLLS  # the later ones win
    images = SMALL_IMAGES if "filters" in config.backbone else ()
    return [*chosen, *few, *images, *TINY]


def started(folder: Path, *arguments: str) -> ForkServerProcess:
    """`maml-train ARGUMENTS hydra.run.dir=FOLDER` in a process that prints into FOLDER/log.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    return begun([*arguments, f"hydra.run.dir={folder}"], folder / LOG)


def begun(
    arguments: list[str], log: Path, *, largest_file: int | None = None, cores: int = 1
) -> ForkServerProcess:
    """`maml-train ARGUMENTS` in the folder of the log, as a process group of its own.

    No file may be larger than so many bytes.
    """
    process = _server.Process(target=_typed, args=(arguments, log, largest_file, cores))
    process.start()
    return process


def ended(process: ForkServerProcess) -> int:
    """The exit code of the process, once it has ended by itself."""
    process.join(_LIMIT)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def done(folder: Path, *arguments: str) -> str:
    """Runs to the end, which must be a good one; what was printed."""
    code = ended(started(folder, *arguments))
    printed = (folder / LOG).read_text()
    assert code == 0, printed
    return printed


def wait_for(found: Callable[[], object], seconds: float = _LIMIT) -> None:
    """Return once `found` is true; fails after this number of seconds."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def pgrep(*criteria: str) -> list[int]:
    """The processes that match these criteria of the command `pgrep`."""
    command = ["pgrep", *criteria]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def _typed(arguments: list[str], log: Path, largest_file: int | None, cores: int) -> None:
    os.setpgrp()
    os.chdir(log.parent)
    torch.set_num_threads(cores)
    if largest_file is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["maml-train", *arguments]
    sys.exit(main())


def outcome(folder: Path) -> dict[str, Any]:
    """What an interruption must not change, down to the last bit."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    results = json.loads((folder / "results.json").read_text())
    for record in lines:
        record.pop("iterations_per_second", None)
    last = max((folder / "checkpoints").glob("epoch-*.pt"))
    weights = hashlib.sha256(last.name.encode())
    for name, tensor in torch.load(last, weights_only=True)["theta"].items():
        weights.update(name.encode() + tensor.numpy().tobytes())
    return {
        "theta": weights.hexdigest(),
        "metrics": lines,
        **{key: results[key] for key in ("test", "test_single", "test_per_step", "val")},
    }
