"""Mini-ImageNet in whatever form people have it, recognised by what the files hold."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from maml_cli.core.errors import DataError
from maml_cli.data.archives import ARCHIVES, open_archive
from maml_cli.data.archives import paths_within as _paths
from maml_cli.data.files import Files, FolderFiles
from maml_cli.data.formats import is_picture
from maml_cli.data.pickle_files import PickleFiles
from maml_cli.data.picture_tasks import Splits
from maml_cli.data.pictures import Picture, PictureClass
from maml_cli.data.sampler import SPLITS

Layout = Mapping[str, Mapping[str, Mapping[str, Picture]]]
"""Split, class, file name."""


class Found(NamedTuple):
    """The classes of each split, and the folders and files that hold their pictures."""

    splits: Splits
    sources: list[Path]


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
    """The pictures in a folder and in its archives and pickles; raises DataError.

    Where a split is there in several forms, the one with the most pictures counts, and of equal
    ones the first of: archives, folders, a list beside images/, pickles.
    """
    below = FolderFiles(folder)
    archives = [open_archive(path) for path in _paths(below, ARCHIVES)]
    pickles = [PickleFiles(path) for path in _paths(below, (".pkl", ".pickle"))]
    layouts = [
        _by_folders(archives),
        _by_folders([below]),
        _by_lists([below, *archives]),
        _by_folders(pickles),
    ]
    splits: dict[str, list[PictureClass]] = {}
    for split in SPLITS:
        fullest = max((layout[split] for layout in layouts), key=_size)
        splits[split] = [
            PictureClass(label, [fullest[label][name] for name in sorted(fullest[label])])
            for label in sorted(fullest)
        ]
    used = {p.files.path for cs in splits.values() for c in cs for p in c.pictures}
    return Found(splits, sorted(used))


def _size(classes: Mapping[str, Mapping[str, Picture]]) -> int:
    return sum(len(pictures) for pictures in classes.values())


def _by_folders(sources: Iterable[Files]) -> Layout:
    """`.../train|val|test/CLASS/IMAGE`, in any of the sources; the first of two alike counts."""
    layout: dict[str, dict[str, dict[str, Picture]]] = {s: defaultdict(dict) for s in SPLITS}
    for files in sources:
        for name in filter(is_picture, files.names):
            *_, split, label, file = ["", "", *name.split("/")]
            if split in layout:
                layout[split][label].setdefault(file, Picture(files, name))
    return layout


def _by_lists(sources: Iterable[Files]) -> Layout:
    """`images/IMAGE`, and `train.csv`, `val.csv`, `test.csv` that say which class it is of."""
    pictures: dict[str, Picture] = {}
    lists: dict[str, Picture] = {}
    for files in sources:
        for name in files.names:
            *_, folder, file = ["", *name.split("/")]
            if folder == "images" and is_picture(name):
                pictures.setdefault(file, Picture(files, name))
            elif file.removesuffix(".csv") in SPLITS and file.endswith(".csv"):
                lists.setdefault(file.removesuffix(".csv"), Picture(files, name))
    layout: dict[str, dict[str, dict[str, Picture]]] = {s: defaultdict(dict) for s in SPLITS}
    for split, listing in lists.items() if pictures else ():
        for file, label in _rows(listing):
            if file in pictures:
                layout[split][label][file] = pictures[file]
    return layout


def _rows(listing: Picture) -> list[tuple[str, str]]:
    """File name and class in each row of a list."""
    try:
        text = listing.files.read(listing.name).decode("utf-8-sig")
        return [(row["filename"], row["label"]) for row in csv.DictReader(io.StringIO(text))]
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{listing}: not a list with the columns filename and label ({error})"
        ) from error
