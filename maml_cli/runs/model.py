"""A trained run in Python: adapt it to the examples of a task."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maml_cli.core.algorithm import misfits
from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.objective import CLASSIFICATION, REGRESSION, Objective, class_balanced
from maml_cli.core.types import Episode
from maml_cli.data.columns import Columns, CurveDataset
from maml_cli.data.files import FolderFiles
from maml_cli.data.inventory import ImageDataset
from maml_cli.data.own_pictures import network_inputs
from maml_cli.data.pictures import Picture, decoded
from maml_cli.data.pixel_values import RangeUnknown
from maml_cli.data.record import read_record
from maml_cli.data.sampler import episode_keys
from maml_cli.data.support_sets import balanced_sets, stacked
from maml_cli.runs.adapted import AdaptedModel, AdaptedModule, Scales, finite, scale_of, seen
from maml_cli.runs.assembly import assemble
from maml_cli.runs.devices import choose_device
from maml_cli.runs.trained import load_trained
from maml_cli.storage.run_folder import RunFolder


@dataclass(kw_only=True)
class GivenTask:
    """The source of one task, whose queries come later."""

    objective: Objective
    input_shape: tuple[int, ...]
    output_size: int
    train_classes: int
    remarks: tuple[str, ...] = ()

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Raises TypeError: a task that is given has no others beside it."""
        raise TypeError("a given task is not drawn")

    def curve_episodes(self, count: int) -> None:
        """None: there is nothing to draw."""


class Model:
    """What a run has learned: the networks of its best epochs."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self._folder, self._experiment = folder, experiment
        self._device = choose_device(experiment.run.device)
        dataset = experiment.dataset
        self._classes = isinstance(dataset, ImageDataset)
        self.columns: Columns | None = None
        """The inputs and outputs of a regression; None: they have no names."""
        if self._classes:
            self._objective = CLASSIFICATION
        elif isinstance(dataset, CurveDataset):
            record = read_record(RunFolder(folder).data)
            self._objective = REGRESSION
            self.columns = dataset.columns(record.columns if record else None)
        else:
            self._objective = dataset.load(experiment.run, self._device).objective
        trained = load_trained(folder, experiment, self._objective, self._device)
        self._candidates, self.remarks = trained.candidates, trained.remarks
        self.networks = len(self._candidates)
        """How many of the best epochs vote."""

    def images(self, paths: Sequence[str | PathLike[str]]) -> Tensor:
        """Pictures as the networks receive them, `(pictures, channels, height, width)`.

        Raises UsageError if the run's data set has no pictures or the paths are no list, DataError
        if a picture cannot be read.
        """
        dataset = self._experiment.dataset
        if isinstance(paths, str | PathLike):
            raise UsageError(f"images({str(paths)!r}): give a list, images([{str(paths)!r}])")
        if not isinstance(dataset, ImageDataset):
            raise UsageError(f"{self._folder} was trained on {dataset.name}, which has no pictures")
        record = read_record(RunFolder(self._folder).data)
        form = dataset.picture_form(record.values if record else None)
        files = [Path(path).resolve() for path in paths]
        if missing := [file for file in files if not file.is_file()]:
            raise DataError(*(f"{file}: no such file" for file in missing))
        folders = {file.parent: FolderFiles(file.parent) for file in files}
        pictures = [Picture(folders[f.parent], f"{f.parent.name}/{f.name}") for f in files]
        pixels = np.empty((len(files), *form.shape), np.uint8)
        try:
            for place, image in decoded(pictures, form.decode, form.values, "paths"):
                pixels[place] = image[0]
        except RangeUnknown:
            raise DataError(
                f"{self._folder} was trained on pictures of eight bits, and these have more, of "
                "which no range is known: convert them to eight bits, all in the same way"
            ) from None
        return network_inputs(pixels, form)

    def adapt(self, support_x: Tensor, support_y: Tensor) -> AdaptedModel:
        """The model of one task, from its support set.

        For classes, `support_x` is `(examples, channels, height, width)` and `support_y` holds
        labels 0 to ways-1, in any order and as many of each as there are. For curves both are
        `(points, numbers)`, in the units of the data set. Raises UsageError if that does not fit
        the run.
        """
        support_x, support_y = finite("support_x", support_x), finite("support_y", support_y)
        if len(support_x) != len(support_y) or not len(support_x):
            raise UsageError(
                f"support_x has {len(support_x)} examples and support_y {len(support_y)}: give "
                "both the same number, at least one"
            )
        if self._classes:
            support_x, support_y, counts = _by_class(support_x, support_y)
            objective = class_balanced([len(rows) for rows in balanced_sets(counts)[0]])
            outputs = len(counts)
        else:
            objective, outputs = self._objective, support_y.shape[-1]
        scales: Scales = {}
        if self.columns is not None:
            given = support_x.shape[-1], support_y.shape[-1]
            if given != (wanted := tuple(map(len, self.columns))):
                raise UsageError(
                    f"support_x and support_y have {given[0]} and {given[1]} numbers for each "
                    f"point; the run was trained on {wanted[0]} and {wanted[1]}"
                )
            scales = {n: scale_of(part) for n, part in self.columns._asdict().items()}
            support_x = seen(support_x, scales["inputs"]).float()
            support_y = seen(support_y, scales["outputs"]).float()
        # a classifier of all training classes has a head of theirs; nobody else asks their number
        head = self._candidates[0].theta.get("model", {}).get("head.weight", ())
        task = GivenTask(
            objective=objective,
            input_shape=tuple(support_x.shape[1:]),
            output_size=outputs,
            train_classes=len(head),
        )
        # a single task has all cores without processes of its own
        run = replace(self._experiment.run, engine="loop")
        parts = assemble(replace(self._experiment, run=run), task, self._device)
        if problems := misfits(parts.fresh(), self._candidates[0]):
            raise UsageError(
                *(f"{outputs} outputs on inputs of shape {task.input_shape}: {p}" for p in problems)
            )
        sets = parts.support_sets(counts) if self._classes else [[np.arange(len(support_x))]]
        rows = stacked(sets)
        support = support_x[rows].to(self._device), support_y[rows].to(self._device)
        key = torch.from_numpy(episode_keys(run.seed, "test", 0, 1)[0]).to(self._device)
        return AdaptedModel(AdaptedModule(parts, self._candidates, *support, key, scales=scales))


def _by_class(support_x: Tensor, support_y: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """The examples sorted by class, and how many each class has."""
    found = sorted(set(support_y.tolist()))
    if support_y.is_floating_point() or found != list(range(len(found))) or len(found) < 2:
        raise UsageError(
            f"support_y has the labels {found}: number the classes of the task 0, 1, 2 and so on, "
            "as integers; at least two of them"
        )
    order = support_y.argsort(stable=True)
    return support_x[order], support_y[order], support_y.bincount().tolist()
