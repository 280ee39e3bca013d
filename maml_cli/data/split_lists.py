"""Lists, as csv or json, that say which pictures or classes are in which split."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from maml_cli.core.errors import DataError
from maml_cli.data.class_names import composed
from maml_cli.data.pictures import Picture
from maml_cli.data.split_names import split_at_end, split_of

FILE_COLUMNS = (
    *("filename", "file_name", "file", "image_name", "image", "image_path", "path"),
    *("image_id", "id"),
)
CLASS_COLUMNS = ("label", "class_name", "class", "category", "wnid", "label_name")
SPLIT_COLUMNS = ("split", "phase", "subset", "set")
READ = (
    f"a csv list has a column for the file ({', '.join(FILE_COLUMNS)}) and one for the class "
    f"({', '.join(CLASS_COLUMNS)}), or one for the class alone"
)
_DEEPEST = 20


class Row(NamedTuple):
    """One line of a list: a class, and where it belongs."""

    split: str | None
    """None if the list does not say."""
    label: str
    file: str | None
    """One of its pictures; None: all of them."""


def lists_in(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Those that may be lists, by their names: `train.csv`, `base.json`, `split.csv`."""
    for picture in pictures:
        path = PurePosixPath(picture.name)
        if path.suffix.lower() in (".csv", ".json") and (
            split_at_end(path.stem) or path.stem.lower() in ("split", "splits", "labels")
        ):
            yield picture


def rows_in(listing: Picture) -> list[Row]:
    """What a list says; empty if it is no list of pictures or classes.

    Raises DataError if it cannot be read.
    """
    path = PurePosixPath(listing.name)
    split = split_at_end(path.stem)
    try:
        text = listing.files.read(listing.name).decode("utf-8-sig")
        if path.suffix.lower() == ".csv":
            return list(_csv_rows(text, split))
        content = json.loads(text)
        if isinstance(content, dict) and any(split_of(str(key)) for key in content):
            found = {split_of(str(key)): value for key, value in content.items()}
            return [row for key, value in found.items() if key for row in _json_rows(value, key)]
        return list(_json_rows(content, split)) if split else []
    except (ValueError, RecursionError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{listing}: a list of a split that cannot be read ({reason})") from error


def _csv_rows(text: str, split: str | None) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text))
    columns = {str(name).strip().lower(): str(name) for name in reader.fieldnames or ()}
    file, label, phase = (
        next((columns[name] for name in names if name in columns), None)
        for names in (FILE_COLUMNS, CLASS_COLUMNS, SPLIT_COLUMNS)
    )
    if label is None or not (split or phase or file):
        return
    for row in reader:
        where = split_of(row[phase] or "") if phase else split
        if (where or not phase) and row[label]:
            yield Row(where, composed(row[label]), composed(row[file] or "") if file else None)


def _json_rows(content: Any, split: str) -> Iterator[Row]:
    """A list of class names, `{class: files}`, or `image_names`, `image_labels`, `label_names`."""
    match content:
        case {"image_names": list(files), "image_labels": list(numbers)}:
            names = content.get("label_names", [])
            for file, number in zip(files, numbers, strict=True):
                known = isinstance(names, list) and number in range(len(names))
                yield Row(
                    split, composed(str(names[number] if known else number)), composed(str(file))
                )
        case list(labels):
            yield from (Row(split, composed(str(label)), None) for label in labels)
        case dict():
            for label, files in content.items():
                if isinstance(files, list):
                    name = composed(str(label))
                    yield from (Row(split, name, composed(str(file))) for file in files)


def by_lists(
    rows: Iterable[Row], pictures: Iterable[Picture]
) -> tuple[dict[str | None, dict[str, list[Picture]]], int]:
    """The pictures of each class of each split, and how many that are listed are not there.

    A listed file is the picture with the longest common end of its path; its ending may be left
    out. A listed class without files has the pictures in the folder of its name.
    """
    by_file: dict[str, list[Picture]] = {}
    by_folder: dict[str, list[Picture]] = {}
    for picture in pictures:
        parts = composed(picture.name).split("/")
        for name in {parts[-1], PurePosixPath(parts[-1]).stem}:
            by_file.setdefault(name, []).append(picture)
        for folder in parts[:-1]:
            by_folder.setdefault(folder, []).append(picture)
    splits: dict[str | None, dict[str, list[Picture]]] = {}
    absent = 0
    for row in rows:
        found = by_folder.get(row.label, []) if row.file is None else _nearest(row, by_file)
        absent += not found
        if found:
            splits.setdefault(row.split, {}).setdefault(row.label, []).extend(found)
    return splits, absent


def _nearest(row: Row, by_file: Mapping[str, list[Picture]]) -> list[Picture]:
    wanted = [row.label, *str(row.file).replace("\\", "/").split("/")]
    some = by_file.get(wanted[-1], [])
    return (
        [max(some, key=lambda p: _common_end(composed(p.name).split("/"), wanted))] if some else []
    )


def _common_end(one: list[str], other: list[str]) -> int:
    same = 0
    for a, b in zip(reversed(one[-_DEEPEST:]), reversed(other), strict=False):
        if a != b:
            break
        same += 1
    return same
