"""A run that was trained: its best networks, for another test or for use."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from maml_cli.core.errors import CheckpointError, UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.learner import MetaParameters
from maml_cli.core.objective import Objective
from maml_cli.runs.assembly import Assembly
from maml_cli.storage.checkpoint import Checkpoints
from maml_cli.storage.files import storing
from maml_cli.storage.resume import require_same_config


class Trained(NamedTuple):
    """What a run has learned, read from its checkpoints, which stay as they are."""

    candidates: list[MetaParameters]
    """Those of the best epochs, best first, as many as `eval.ensemble` says."""
    facts: dict[str, Any]
    """How it came about, for the results: the command, the sizes of training episodes, `val`,
    iterations, their time, epochs."""
    remarks: tuple[str, ...]
    """What a reader must know, such as that the run is not finished."""


def load_trained(
    folder: Path, experiment: Experiment, objective: Objective, device: torch.device
) -> Trained:
    """What the run in the folder has learned; sums are then computed with its number of threads.

    Raises CheckpointError or UsageError.
    """
    wanted = experiment.eval.ensemble
    checkpoints = Checkpoints(
        folder / "checkpoints", keep=wanted, higher_is_better=objective.higher_is_better
    )
    found = checkpoints.newest()
    if found is None or not found.content["scores"]:
        raise CheckpointError(f"run={folder}: no epoch of it was finished; train it further")
    if found.problems:
        raise CheckpointError(*found.problems, "put back a copy, or train the run again")
    content = found.content
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    require_same_config(content["config"], config, folder)
    began = yaml.safe_load(config)
    kept = began["eval"]["ensemble"]
    if wanted > kept:
        raise UsageError(
            f"eval.ensemble={wanted}: the run keeps its {kept} best epochs, so choose at most that"
        )
    torch.set_num_threads(content["machine"]["threads"])
    epochs, done = experiment.train.epochs, content["epoch"]
    return Trained(
        candidates=[checkpoints.load(e, device) for e in checkpoints.best(content["scores"])],
        facts={
            "trained_by": content.get("command"),
            **{  # null stands for the run's own ways, not for those of another test
                f"train_{size}": began[f"train_{size}"] or began[size]
                for size in ("ways", "shots", "queries")
            },
            "val": checkpoints.summary(content["scores"]),
            "iterations": content["iteration"],
            "seconds_per_iteration": content["seconds"] / content["iteration"],
            "epochs": done,
        },
        remarks=() if done == epochs else (f"not trained to the end: {done} of {epochs} epochs",),
    )


def misfits(parts: Assembly, params: MetaParameters) -> list[str]:
    """What these settings ask for in another shape than it was learned in, a phrase each."""
    needed = parts.learner.init(parts.experiment.run.seed)
    return [
        f"{name} would have to be {_by(tensor.shape)}, but is {_by(learned[name].shape)}"
        for wanted, learned in ((needed.theta, params.theta), (needed.state, params.state))
        for name, tensor in wanted.items()
        if learned[name].shape != tensor.shape
    ]


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def claim(folder: Path) -> None:
    """Make the folder for results to come; raises UsageError if something is there already."""
    with storing(folder):
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UsageError(
                f"output={folder}: there is something already, and nothing is ever overwritten; "
                "choose another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)


def now() -> str:
    """The time to a microsecond, for the name of a folder."""
    return datetime.now().strftime("%Y%m%d-%H%M%S-%f")
