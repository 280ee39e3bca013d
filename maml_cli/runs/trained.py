"""A trained run: its best networks, for another test or for use."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maml_cli.core.algorithm import MetaParameters, Sections, flat, misfits, nested
from maml_cli.core.errors import CheckpointError, UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.limits import CONFIG_BYTES
from maml_cli.core.machine import usable_threads
from maml_cli.core.objective import Objective
from maml_cli.core.plain_text import printable
from maml_cli.core.regular_files import read_text
from maml_cli.core.results import Validation
from maml_cli.core.settings import TrainSettings
from maml_cli.core.yaml_text import read_mapping
from maml_cli.data.record import some
from maml_cli.reporting.format import count
from maml_cli.storage.checkpoint import Checkpoints
from maml_cli.storage.files import storing
from maml_cli.storage.resume import FREE, require_same_config
from maml_cli.storage.run_folder import RunFolder, meant
from maml_cli.storage.shared_checkpoints import SharedCheckpoints

SHOWN = 5


class Trained(NamedTuple):
    """What a run has learned, read from its checkpoints, which stay as they are."""

    candidates: list[MetaParameters]
    """The networks of the best epochs, best first, as many as `eval.ensemble` says."""
    train_ways: int
    """Of the episodes that it was trained on, whatever the episodes of another test have."""
    train_shots: int
    train_queries: int
    bn_stats: str
    """`eval.bn_stats` of the run's own test."""
    validation: Validation
    epochs: int
    """Epochs done, their validation included."""
    iterations: int
    """Outer updates done."""
    seconds_per_iteration: float
    command: str | None
    """The command that trained it; None if its checkpoints do not say."""
    remarks: tuple[str, ...]
    """What a reader must know, such as that the run is not finished."""


def load_trained(
    folder: Path, experiment: Experiment, objective: Objective, device: torch.device
) -> Trained:
    """What the run in the folder has learned; sums are then computed with its number of threads.

    Raises CheckpointError or UsageError.
    """
    files, wanted = RunFolder(folder), experiment.eval.ensemble
    checkpoints = Checkpoints(files.checkpoints, keep=wanted, metric=objective.reported)
    found = checkpoints.newest()
    if found is None or not found.content["scores"]:
        raise CheckpointError(f"run={folder}: no epoch of it was finished; train it further")
    if found.problems:
        raise CheckpointError(*found.problems, "put back a copy, or train the run again")
    content = found.content
    try:
        config = read_text(files.config, CONFIG_BYTES)
        began = read_mapping(config)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{files.config}: cannot be read ({error})") from error
    require_same_config(content["config"], config, folder)
    kept = began["eval"]["ensemble"]
    if wanted > kept:
        raise UsageError(
            f"eval.ensemble={wanted}: the run keeps its {min(kept, content['epoch'])} best epochs, "
            "so choose at most that"
        )
    torch.set_num_threads(usable_threads(content["machine"]["threads"]))
    done = content["epoch"]
    return Trained(
        candidates=[checkpoints.load(e, device) for e in checkpoints.best(content["scores"])],
        train_ways=began.get("train_ways") or began["ways"],
        train_shots=began.get("train_shots") or began["shots"],
        train_queries=began.get("train_queries") or began["queries"],
        bn_stats=began["eval"]["bn_stats"],
        validation=checkpoints.validation(content["scores"]),
        epochs=done,
        iterations=content["iteration"],
        seconds_per_iteration=content["seconds"] / content["iteration"],
        command=_shown(content.get("command")),
        remarks=(
            *map(printable, content.get("remarks", ())),
            *budget_remarks(done, experiment.train, checkpoints, content["scores"]),
            *_other_data(began, read_mapping(experiment.resolved)),
        ),
    )


def _other_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How the data set of the run is read otherwise than in training."""
    old, new = before["dataset"], now["dataset"]
    if old["_target_"] != new["_target_"]:
        return [printable(f"trained on {old['name']}, tested on {new['name']}")]
    return [
        printable(f"dataset.{key} is {json.dumps(new[key])}, in training {json.dumps(value)}")
        for key, value in old.items()
        if f"dataset.{key}" not in FREE and new.get(key, value) != value
    ]


def budget_remarks(
    done: int, train: TrainSettings, checkpoints: Checkpoints, scores: Mapping[int, float]
) -> tuple[str, ...]:
    """What a reader must know of a training that has done these of its epochs only."""
    if done == train.epochs:
        return ()
    if checkpoints.hopeful(scores, train.patience):
        return (f"not trained to the end: {done} of {train.epochs} epochs",)
    return (
        f"training ended after epoch {done} of {train.epochs}, because "
        f"{count(train.patience or 0, 'epoch', 'epochs')} brought no better validation "
        f"(train.patience={train.patience})",
    )


def started(
    params: MetaParameters, folder: Path, objective: Objective
) -> tuple[MetaParameters, list[str]]:
    """Fresh parameters with the section `model` of another run's best epoch, and remarks.

    Raises CheckpointError, or UsageError where the networks differ.
    """
    theirs = best_of(f"algo.start={folder}", folder, objective).theta
    model = theirs.get("model", {})
    both = ({"model": params.theta["model"]}, {"model": model})
    if problems := misfits(*(MetaParameters(theta=theta, state={}) for theta in both)):
        raise UsageError(
            f"algo.start={folder}: the weights of that run do not fit this network: "
            f"{some(problems)}; start from a run of algo=maml or fomaml with the same "
            "backbone and ways. Learned maps, contexts, particles and weights per step (algo.bnwb) "
            "are weights, too"
        )
    left = [name for name, tensors in theirs.items() if tensors and name != "model"]
    remarks = [f"algo.start={folder}: its {' and '.join(left)} were not taken"] if left else []
    return MetaParameters(theta={**params.theta, "model": model}, state=params.state), remarks


def _shown(command: str | None) -> str | None:
    return None if command is None else printable(command)


def initialised(
    params: MetaParameters, folder: Path, objective: Objective
) -> tuple[MetaParameters, str]:
    """Fresh parameters with those of another run's best epoch that fit, and a remark on both.

    Raises CheckpointError, or UsageError where none fits.
    """
    theirs = best_of(f"init_from={folder}", folder, objective)
    known = {**flat(theirs.theta), **flat(theirs.state)}

    def fitting(ours: Sections) -> Sections:
        return nested(
            {
                name: known[name] if _fits(known.get(name), tensor) else tensor
                for name, tensor in flat(ours).items()
            }
        )

    names = {**flat(params.theta), **flat(params.state)}
    taken = [name for name, tensor in names.items() if _fits(known.get(name), tensor)]
    others = misfits(params, theirs)
    if not taken:
        raise UsageError(
            f"init_from={folder}: none of its tensors has a name and shape of this run",
            *others[:SHOWN],
        )
    left = f"; not taken: {'; '.join(others)}" if others else ""
    remark = f"started from {len(taken)} of {len(names)} tensors of {folder}{left}"
    return MetaParameters(theta=fitting(params.theta), state=fitting(params.state)), remark


def _fits(found: Tensor | None, wanted: Tensor) -> bool:
    return found is not None and found.shape == wanted.shape


def best_of(key: str, folder: Path, objective: Objective) -> MetaParameters:
    """The meta-parameters of a run's best epoch; raises CheckpointError, which names the key."""
    files = RunFolder(folder)
    checkpoints = SharedCheckpoints(files.checkpoints, keep=1, metric=objective.reported)
    found = checkpoints.newest()
    if found is None or not found.content["scores"]:
        there = "holds no run with a finished epoch" if folder.exists() else "no such folder"
        way_out = meant(key.partition("=")[0], folder) or ": name the folder of a run"
        raise CheckpointError(f"{key}: {there}{way_out}")
    (best,) = checkpoints.best(found.content["scores"])
    return checkpoints.load(best, torch.device("cpu"))


def claim(folder: Path) -> None:
    """Make a new folder for results; raises UsageError unless it is absent or empty."""
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
