"""One task made of somebody's own pictures: a few with their class, and some to be told apart."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maml_cli.core.errors import DataError
from maml_cli.core.objective import class_balanced
from maml_cli.core.plain_text import printable
from maml_cli.core.types import Episode
from maml_cli.data.archives import ARCHIVES, is_archive, open_archive
from maml_cli.data.class_names import composed
from maml_cli.data.files import Files, FolderFiles, SingleFile, name_within
from maml_cli.data.formats import is_picture, passed_over
from maml_cli.data.pictures import Picture, PictureClass, PictureForm, decoded, surveyed
from maml_cli.data.pixel_values import RangeUnknown
from maml_cli.data.sampler import episode_keys
from maml_cli.data.support_sets import Rows, balanced_sets, large_sets, stacked


@dataclass(frozen=True, kw_only=True)
class OwnPictures:
    """Pictures with their class, and pictures to be told apart, in fixed orders."""

    classes: Sequence[PictureClass]
    queries: Sequence[Picture]
    truth: Sequence[int] | None
    """The number of each query's class, if their folders tell it."""
    said: Sequence[str] = ()
    """What was passed over."""

    @property
    def labels(self) -> list[str]:
        """The names of the classes, sorted."""
        return [_printable(c.label) for c in self.classes]

    @property
    def names(self) -> list[str]:
        """The queries' names, below their folder or in their archive."""
        return [_printable(name_within(*query)) for query in self.queries]


def find_own_pictures(support: Path, query: Path) -> OwnPictures:
    """What lies in `support/CLASS/IMAGE` and in `query/IMAGE` or `query/CLASS/IMAGE`.

    Both may be archives, and the query may be one picture. Raises DataError with all that is not as
    it should be.
    """
    problems: list[str] = []
    said: list[str] = []
    shown, asked = (
        _pictures(name, path, problems, said)
        for name, path in (("support", support), ("query", query))
    )
    classes = _classes(shown)
    query_classes = _classes(asked, {c.label for c in classes})
    in_classes = sum(len(c.pictures) for c in query_classes)
    if shown and not classes:
        problems.append(f"support={support}: no folder in it holds pictures; it needs CLASS/IMAGE")
    if asked and 0 < in_classes < len(asked):
        problems.append(
            f"query={query}: {in_classes} pictures lie in folders of classes and "
            f"{len(asked) - in_classes} do not; put all of them into folders, or none"
        )
    strange = sorted({c.label for c in query_classes} - {c.label for c in classes})
    if classes and strange:
        problems.append(
            f"query={query}: {', '.join(strange)}: no class of support; there are "
            f"{', '.join(c.label for c in classes)}: rename these folders, or take them away"
        )
    if problems:
        raise DataError(*map(_printable, problems))
    if not in_classes:
        return OwnPictures(classes=classes, queries=asked, truth=None, said=said)
    numbers = {c.label: number for number, c in enumerate(classes)}
    return OwnPictures(
        classes=classes,
        queries=list(chain.from_iterable(c.pictures for c in query_classes)),
        truth=[numbers[c.label] for c in query_classes for _ in c.pictures],
        said=said,
    )


class OwnTask:
    """The one task that the pictures make, whatever episode is asked for.

    Classes are numbered as in `OwnPictures.labels`; they may have different numbers of pictures,
    see `support_sets.py`. The task's key depends on the seed alone. Raises DataError naming the
    pictures that cannot be read.
    """

    def __init__(
        self,
        own: OwnPictures,
        form: PictureForm,
        device: torch.device,
        *,
        train_classes: int,
        seed: int,
    ) -> None:
        self.input_shape: tuple[int, ...] = form.shape
        self.counts = counts = [len(c.pictures) for c in own.classes]
        self.objective = class_balanced([len(rows) for rows in balanced_sets(counts)[0]])
        self.remarks: tuple[str, ...] = (*own.said,)
        if len(set(counts)) > 1:
            said = f"Classes have {min(counts)} to {max(counts)} pictures"
            self.remarks += (f"{said}; each class has the same weight.",)
        self.output_size = len(own.classes)
        self.train_classes = train_classes
        support = list(chain.from_iterable(c.pictures for c in own.classes))
        pixels = np.empty((len(support) + len(own.queries), *form.shape), np.uint8)
        for place, image in self._decoded(support, own.queries, form):
            pixels[place] = image[0]
        self.support_pixels, self.query_pixels = np.split(pixels, [len(support)])
        self.support_labels = [n for n, c in enumerate(own.classes) for _ in c.pictures]

        fields = Episode(
            support_x=network_inputs(self.support_pixels, form),
            support_y=torch.tensor(self.support_labels),
            query_x=network_inputs(self.query_pixels, form),
            query_y=torch.tensor(own.truth or [0] * len(own.queries)),
            classes=torch.arange(self.output_size),
            key=torch.from_numpy(episode_keys(seed, "test", 0, 1)[0]),
        )
        self._episode = Episode(*(field.to(device) for field in fields))

    def _decoded(
        self, support: Sequence[Picture], queries: Sequence[Picture], form: PictureForm
    ) -> list[tuple[int, NDArray[np.uint8]]]:
        """The pictures; where training had no need of a range of values, by that of the support."""
        every, what = [*support, *queries], "support and query"
        try:
            return list(decoded(every, form.decode, form.values, what))
        except RangeUnknown:
            found = surveyed(support) or surveyed(every)
        if found is None:
            raise DataError("the range of the pictures' values cannot be found")
        said = f"{found.said('your pictures')}; the run was trained on eight bits."
        self.remarks = (*self.remarks, said)
        return list(decoded(every, form.decode, found.range, what))

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """The task with all examples in one support set, `count` times."""
        return self.with_each(large_sets(self.counts) * count)

    def with_each(self, sets: Sequence[Rows]) -> Episode:
        """The task with each of these support sets."""
        rows, task = stacked(sets).to(self._episode.key.device), self._episode
        of_all = Episode(*(field.expand(len(sets), *field.shape) for field in task))
        return of_all._replace(support_x=task.support_x[rows], support_y=task.support_y[rows])

    def curve_episodes(self, count: int) -> None:
        """None: there is no curve to draw over pictures."""


def network_inputs(pixels: NDArray[np.uint8], form: PictureForm) -> Tensor:
    """Decoded pictures as a network receives them, `(pictures, channels, height, width)`."""
    scale, shift = (torch.tensor(v).view(-1, 1, 1) for v in (form.scale, form.shift))
    return torch.from_numpy(pixels).float().mul_(scale).add_(shift)


def _pictures(name: str, path: Path, problems: list[str], said: list[str]) -> list[Picture]:
    files = _files(name, path, problems)
    if files is None:
        return []
    pictures = [Picture(files, file) for file in files.names if is_picture(file)]
    if not pictures:
        problems.append(f"{name}={path}: no picture is in it")
    if others := passed_over(files.names):
        said.append(f"{name}: passed over {others}.")
    folders, with_pictures = (
        {file.rpartition("/")[0] for file in names}
        for names in (files.names, [picture.name for picture in pictures])
    )
    if path.is_dir():
        folders |= {f"{path.resolve().name}/{name}" for name in _empty_folders(path)}
    for folder in sorted(folders - with_pictures):
        inside = any(other.startswith(f"{folder}/") for other in with_pictures)
        if pictures and not inside and "/" in folder:
            said.append(f"{name}: {_printable(name_within(files, folder))} holds no picture.")
    return pictures


def _empty_folders(path: Path) -> list[str]:
    """The names of the folders in a folder that hold nothing at all, and so have no files."""
    inside = (entry for entry in path.iterdir() if not entry.name.startswith("."))
    return [entry.name for entry in inside if entry.is_dir() and not any(entry.iterdir())]


def _files(name: str, path: Path, problems: list[str]) -> Files | None:
    """The folder, the archive, or of the query a single picture."""
    if path.is_dir():
        return FolderFiles(path.resolve())
    if not path.is_file():
        problems.append(f"{name}={path}: no such folder")
    elif is_archive(path.name):
        return open_archive(path.resolve())
    elif not is_picture(path.name):
        endings = ", ".join(ARCHIVES)
        problems.append(f"{name}={path}: no folder, picture or archive that is read ({endings})")
    elif name == "query":
        return SingleFile(path.resolve())
    else:
        problems.append(
            f"{name}={path}: one picture, whose class is not told; put the pictures of each class "
            f"into a folder of its name, DIR/CLASS/IMAGE, and write {name}=DIR"
        )
    return None


def _classes(pictures: Sequence[Picture], known: Collection[str] = ()) -> list[PictureClass]:
    """The pictures by their outer folders, whatever lies between; others are left out.

    A folder that holds all class folders, as archives unpack them, is none; nor is one that holds
    all pictures of an archive, unless it is a known class.
    """
    folders = [composed(name_within(*p)).split("/")[:-1] for p in pictures]
    below = 0 if known and any(p.files.path.is_file() for p in pictures) else 1
    while (
        all(len(path) > below for path in folders)
        and len({path[0] for path in folders}) == 1
        and folders[0][0] not in known
    ):
        folders = [path[1:] for path in folders]
    by_label: dict[str, list[Picture]] = {}
    for path, picture in zip(folders, pictures, strict=True):
        if path:
            by_label.setdefault(path[0], []).append(picture)
    return [PictureClass(label, by_label[label]) for label in sorted(by_label)]


def _printable(name: str) -> str:
    """A name without what no file can be written with."""
    return printable(os.fsencode(name).decode(errors="replace"))
