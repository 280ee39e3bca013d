"""A run that goes on: as it was, or for more epochs than it had."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from maml_cli.core.experiment import Experiment
from maml_cli.core.plain_text import printable
from maml_cli.core.types import Progress
from maml_cli.core.yaml_text import read_mapping
from maml_cli.engines.engine import Engine
from maml_cli.reporting.format import count
from maml_cli.storage.checkpoint import Found
from maml_cli.storage.files import storing
from maml_cli.storage.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A run that was to end after `before` epochs, and is trained on to `epochs`."""

    before: int
    epochs: int
    arguments: str
    """What its command gets for that."""

    def remark(self, done: int) -> str:
        """For every table, of a run that ended after `done` epochs."""
        return f"trained for {count(done, 'epoch', 'epochs')}, and then on to {self.epochs}"

    def notes(self, engine: Engine, iteration: int, per_epoch: int) -> list[str]:
        """What schedules that end with the last epoch do at this iteration."""

        def progress(epochs: int) -> Progress:
            return Progress(
                iteration=iteration,
                epoch=iteration // per_epoch,
                iterations=epochs * per_epoch,
                epochs=epochs,
            )

        algorithm, found = engine.algorithm, []
        then, now = progress(self.before), progress(self.epochs)
        rates = algorithm.outer_lr(then), algorithm.outer_lr(now)
        if rates[0] != rates[1]:
            found.append(
                f"the outer rate ends with the last epoch: it goes on at {rates[1]:.3g}, as that "
                f"of a run of {self.epochs} epochs does here, where it was {rates[0]:.3g}"
            )
        if algorithm.phase(then) != algorithm.phase(now):
            found.append(
                f"schedules that end with the last epoch go on as in a run of {self.epochs} epochs"
            )
        return found


def extension(found: Found, experiment: Experiment) -> Extension | None:
    """The extension of the run with this checkpoint, if it is given more epochs or patience."""
    train = read_mapping(found.content["config"])["train"]
    before, epochs, patience = train["epochs"], experiment.train.epochs, experiment.train.patience
    longer = [f"train.epochs={epochs}"] if epochs > before else []
    if train.get("patience") != patience:
        longer.append(f"train.patience={'null' if patience is None else patience}")
    arguments = " ".join(longer)
    return Extension(before=before, epochs=epochs, arguments=arguments) if longer else None


def set_aside(files: RunFolder, epochs: int) -> None:
    """Rename the results of a run that is trained on: nothing is lost, and it is not done."""
    with storing(files.path):
        kept = (files.predictions_csv, files.classes, files.confusion, files.features)
        for path in (files.results, files.table, files.scores, *kept, *files.pictures):
            if path.exists():
                path.replace(path.with_name(f"{path.stem}-{epochs}-epochs{path.suffix}"))


def command_of(found: Found, experiment: Experiment) -> str:
    """The command that repeats the run: its first one, with the epochs that it has now."""
    command = printable(found.content.get("command") or experiment.command)
    longer = extension(found, experiment)
    return command if longer is None else f"{command} {longer.arguments}"


def way_on(experiment: Experiment, output_dir: Path) -> str:
    """The command that goes on with the run, as it can be pasted into a shell."""
    words = shlex.split(experiment.command)
    pairs = [pair for pair in pairwise(words) if pair[0] == "--module-path"]
    modules = [word for pair in pairs for word in pair]
    return shlex.join(["maml-train", *modules, f"resume={output_dir}"])


def with_command(found: Found, experiment: Experiment) -> Experiment:
    """The experiment under the command of the run that goes on."""
    return replace(experiment, command=command_of(found, experiment))


def remarks_of(found: Found | None) -> Sequence[str]:
    """What must be said of the course of a run in every table."""
    return (
        [] if found is None else [printable(remark) for remark in found.content.get("remarks", ())]
    )
