"""Lists, as csv or json, that say which pictures or classes are in which split."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from maml_cli.core.errors import DataError
from maml_cli.data.pictures import Picture
from maml_cli.data.split_names import split_at_end, split_of

FILE_COLUMNS = ("filename", "file_name", "file", "image_name", "image", "image_path", "path")
CLASS_COLUMNS = ("label", "class_name", "class", "category", "wnid", "label_name")
SPLIT_COLUMNS = ("split", "phase", "subset", "set")
READ = (
    f"a csv list has a column for the file ({', '.join(FILE_COLUMNS)}) and one for the class "
    f"({', '.join(CLASS_COLUMNS)}), or one for the class alone"
)
_DEEPEST = 20


class Row(NamedTuple):
    """One line of a list: a class in a split, and one of its pictures, or None for all of them."""

    split: str
    label: str
    file: str | None


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
    if label is None or not (split or phase):
        return
    for row in reader:
        where = split_of(row[phase] or "") if phase else split
        if where and row[label]:
            yield Row(where, row[label], row[file] if file else None)


def _json_rows(content: Any, split: str) -> Iterator[Row]:
    """A list of class names, `{class: files}`, or `image_names`, `image_labels`, `label_names`."""
    match content:
        case {"image_names": list(files), "image_labels": list(numbers)}:
            names = content.get("label_names", [])
            for file, number in zip(files, numbers, strict=True):
                known = isinstance(names, list) and number in range(len(names))
                yield Row(split, str(names[number] if known else number), str(file))
        case list(labels):
            yield from (Row(split, str(label), None) for label in labels)
        case dict():
            for label, files in content.items():
                if isinstance(files, list):
                    yield from (Row(split, str(label), str(file)) for file in files)


def by_lists(
    rows: Iterable[Row], pictures: Iterable[Picture]
) -> tuple[dict[str, dict[str, list[Picture]]], int]:
    """The pictures of each class of each split, and how many that are listed are not there.

    A listed file is the picture with the longest common end of its path. A listed class without
    files has the pictures in the folder of its name.
    """
    by_file: dict[str, list[Picture]] = {}
    by_folder: dict[str, list[Picture]] = {}
    for picture in pictures:
        parts = picture.name.split("/")
        by_file.setdefault(parts[-1], []).append(picture)
        for folder in parts[:-1]:
            by_folder.setdefault(folder, []).append(picture)
    splits: dict[str, dict[str, list[Picture]]] = {}
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
    return [max(some, key=lambda p: _common_end(p.name.split("/"), wanted))] if some else []


def _common_end(one: list[str], other: list[str]) -> int:
    same = 0
    for a, b in zip(reversed(one[-_DEEPEST:]), reversed(other), strict=False):
        if a != b:
            break
        same += 1
    return same
