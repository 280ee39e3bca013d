"""Mini-ImageNet in whatever form people have it, recognised by what the files hold."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from maml_cli.core.errors import DataError
from maml_cli.data.archives import ARCHIVES, open_archive, paths_within
from maml_cli.data.array_files import ENDINGS, ArrayFiles, NoPictures
from maml_cli.data.files import Files, FolderFiles
from maml_cli.data.formats import is_picture, passed_over
from maml_cli.data.mini_imagenet_classes import SPLIT_OF
from maml_cli.data.picture_tasks import Splits
from maml_cli.data.pictures import Picture, PictureClass
from maml_cli.data.record import some
from maml_cli.data.sampler import SPLITS
from maml_cli.data.split_lists import READ, by_lists, lists_in, rows_in
from maml_cli.data.split_names import split_of

_READ = (*ARCHIVES, *ENDINGS, ".csv", ".json")

Layout = Mapping[str, Mapping[str, Mapping[str, Picture]]]
"""Split, class, file name."""


class Found(NamedTuple):
    """The classes of each split, where their pictures are, and what else is there."""

    splits: Splits
    sources: list[Path]
    passed: list[str]
    """What is there beside them, and why it is not read."""
    damaged: list[DataError]
    """Files that may hold more of them, but cannot be read."""


def find_folder(data_dir: Path) -> Path | None:
    """The folder in `data_dir` that is called mini-imagenet, however that is spelt."""
    if not data_dir.is_dir():
        return None
    named = [
        path
        for path in sorted(data_dir.iterdir())
        if path.is_dir() and path.name.lower().replace("-", "").replace("_", "") == "miniimagenet"
    ]
    return named[0] if named else None


def find_pictures(folder: Path) -> Found:
    """The pictures in a folder and in its archives and files of arrays; raises DataError.

    Where a split is there in several forms, the one with the most pictures counts, and of equal
    ones the first of: archives, folders, a list beside images/, files of arrays. Folders of the
    standard classes are split as the standard says. What is no part of the set is passed over.
    """
    below = FolderFiles(folder)
    passed: list[str] = []
    damaged: list[DataError] = []
    archives = _opened(paths_within(below, ARCHIVES), open_archive, passed, damaged)
    arrays = _opened(paths_within(below, ENDINGS), ArrayFiles, passed, damaged)
    layouts = [
        _by_folders(archives),
        _by_folders([below]),
        _by_lists([below, *archives], passed),
        _by_folders(arrays),
        _by_standard([below, *archives], passed),
    ]
    splits: dict[str, list[PictureClass]] = {}
    for split in SPLITS:
        fullest = max((layout[split] for layout in layouts), key=_size)
        splits[split] = [
            PictureClass(label, [fullest[label][name] for name in sorted(fullest[label])])
            for label in sorted(fullest)
        ]
    used = {p.files.path for cs in splits.values() for c in cs for p in c.pictures}
    if others := passed_over(n for n in below.names if not n.lower().endswith(_READ)):
        passed.append(f"passed over: {others}")
    return Found(splits, sorted(used), passed, damaged)


def _opened(
    paths: Iterable[Path],
    open_file: Callable[[Path], Files],
    passed: list[str],
    damaged: list[DataError],
) -> list[Files]:
    """Those that hold pictures; notes those that hold something else or are damaged."""
    files = []
    for path in paths:
        try:
            files.append(open_file(path))
        except NoPictures as other:
            passed += other.messages
        except DataError as error:
            damaged.append(error)
    return files


def _size(classes: Mapping[str, Mapping[str, Picture]]) -> int:
    return sum(len(pictures) for pictures in classes.values())


def _by_folders(sources: Iterable[Files]) -> Layout:
    """`.../train|val|test/CLASS/IMAGE`, in any of the sources; the first of two alike counts."""
    layout = _empty()
    for files in sources:
        for name in filter(is_picture, files.names):
            *_, folder, label, file = ["", "", *name.split("/")]
            split = split_of(folder)
            if split is not None:
                layout[split][label].setdefault(file, Picture(files, name))
    return layout


def _by_standard(sources: Iterable[Files], passed: list[str]) -> Layout:
    """`.../CLASS/IMAGE` without folders of splits, in the split that the standard has it in."""
    layout = _empty()
    others: set[str] = set()
    for files in sources:
        for name in filter(is_picture, files.names):
            *_, folder, label, file = ["", "", *name.split("/")]
            if label in SPLIT_OF:
                layout[SPLIT_OF[label]][label].setdefault(file, Picture(files, name))
            elif split_of(folder) is None and label != "images":
                others.add(label)
    if others:
        passed.append(
            "folders of pictures in no split, whose names are no standard classes: "
            f"{some(sorted(others))}"
        )
    return layout


def _by_lists(sources: Iterable[Files], passed: list[str]) -> Layout:
    """Pictures, and lists of a split that say which class they are of."""
    every = [Picture(files, name) for files in sources for name in files.names]
    pictures = [picture for picture in every if is_picture(picture.name)]
    layout = _empty()
    if not pictures:
        return layout
    rows = []
    for listing in lists_in(every):
        try:
            found = rows_in(listing)
        except DataError as error:
            passed += error.messages
            continue
        rows += [row for row in found if row.split]
        if not any(row.split for row in found):
            passed.append(f"{listing}: no list of pictures and classes; {READ}")
    found_classes, _ = by_lists(rows, pictures)
    for split in SPLITS:
        for label, listed in found_classes.get(split, {}).items():
            layout[split][label] = {p.name.rpartition("/")[2]: p for p in listed}
    return layout


def _empty() -> dict[str, dict[str, dict[str, Picture]]]:
    return {split: defaultdict(dict) for split in SPLITS}
