"""The data of a run: new, as a run that goes on had them, or for the test of a trained run."""

from collections.abc import Sequence

import torch

from maml_cli.core.errors import DataError
from maml_cli.core.experiment import Experiment
from maml_cli.core.types import Episode, TaskSource
from maml_cli.data.images import ImageTasks
from maml_cli.data.inventory import FileDataset
from maml_cli.data.keyed import keyed
from maml_cli.data.record import (
    UNBOUND,
    Binding,
    changes,
    read_record,
    record_of,
    refuse_trained,
)
from maml_cli.data.sampler import SPLITS
from maml_cli.reporting.images import spread
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder


def load(experiment: Experiment, device: torch.device, binding: Binding = UNBOUND) -> TaskSource:
    """The episodes of an experiment, as the binding asks; raises DataError or UsageError."""
    dataset = experiment.dataset
    if isinstance(dataset, FileDataset):
        return dataset.load(experiment.run, device, binding)
    return keyed(dataset.load(experiment.run, device), experiment.run.seed)


def load_to_train(experiment: Experiment, device: torch.device, files: RunFolder) -> TaskSource:
    """The data of a run that begins or goes on: the same classes and pictures in each split.

    Raises DataError if a run would go on with others.
    """
    begun = files.checkpoints.is_dir() and any(files.checkpoints.glob("*.pt"))
    before = read_record(files.data) if begun else None
    source = load(experiment, device, Binding(record=before))
    if before is not None and (changed := changes(before, record_of(source))):
        raise DataError(
            *changed,
            f"The data have changed since the run in {files.path} began, so it cannot go on: put "
            "them back, or start another run.",
        )
    return source


def keep_record(source: TaskSource, files: RunFolder) -> None:
    """Write what the data are into the run's folder."""
    write_atomically(files.data, record_of(source).to_json())


def load_to_test(
    experiment: Experiment, device: torch.device, files: RunFolder, split: str, *, new: bool
) -> tuple[TaskSource, Sequence[str]]:
    """The data that a trained run is tested on, and what must be said of them.

    Raises DataError if a class is tested that the run was trained on.
    """
    before = read_record(files.data)
    if before is None:
        said = "the run has no record of its data (data.json), so nobody checks that they are its"
        return load(experiment, device), [said]
    source = load(experiment, device, Binding(record=before, split=split, new=new))
    now = record_of(source)
    refuse_trained(before, now, split)
    if isinstance(source, ImageTasks):
        source.train_classes = before.train_classes
    known = before.splits.get(split, {})
    if new or (now.splits and not any(label in known for label in now.splits[split])):
        return source, ["tested on other classes than those of the run's own test"]
    if not now.splits and not _comparable(source):
        return source, []
    return source, [f"since the training: {change}" for change in changes(before, now, [split])]


def splits_of(source: TaskSource) -> tuple[str, ...]:
    """Those that the source has."""
    return getattr(source, "splits", SPLITS)


def preview(source: TaskSource) -> Episode:
    """The first training episode, to be drawn: images as the network sees them, from 0 to 1.

    Inputs that are whole numbers, such as those of images in a store, stay as they are.
    """
    if isinstance(source, ImageTasks):
        return Episode(*(field[0] for field in source.visible_episodes("train", 0, 1)))
    first = Episode(*(field[0] for field in source.episodes("train", 0, 1)))
    return spread(first) if first.support_x.is_floating_point() else first


def _comparable(source: TaskSource) -> bool:
    """Whether a record of this source depends on its data alone, not on ways, shots or seed."""
    return getattr(source, "checksum", None) is not None
