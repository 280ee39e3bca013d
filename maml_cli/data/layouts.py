"""How a tree of pictures is laid out: which folders are splits, which are classes.

What was taken for what is said; what could be read in another way is a guess, which stands in every
table.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maml_cli.core.errors import DataError
from maml_cli.data.archives import ARCHIVES, is_archive, open_archive, paths_within, stem
from maml_cli.data.class_names import composed
from maml_cli.data.files import Files, FolderFiles, name_within
from maml_cli.data.formats import is_picture, passed_over
from maml_cli.data.pictures import Picture, PictureClass
from maml_cli.data.sampler import SPLITS
from maml_cli.data.split_lists import Row, by_lists, lists_in, rows_in
from maml_cli.data.split_names import split_of

SHOWN = 3

Placed = tuple[tuple[str, ...], Picture]
"""The folders of a picture from the top on, its own name last; and the picture."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The classes of a tree of pictures."""

    splits: Mapping[str, Sequence[PictureClass]]
    """As folders or lists split them, in the order of SPLITS; empty if nothing does."""
    classes: Sequence[PictureClass]
    """All of them, sorted by label; empty if they are split."""
    said: Sequence[str]
    """What was taken for what, and what was left out."""
    guesses: Sequence[str]
    """What could be read in another way, and how to ask for it."""

    def remarked(self, remark: str) -> "Layout":
        """The same with one more remark."""
        return replace(self, guesses=[*self.guesses, remark])


def sources_in(path: Path) -> list[Files]:
    """The folder, or the archives in it if no picture is; or the one archive; raises DataError."""
    if path.is_file():
        if not is_archive(path.name):
            raise DataError(
                f"{path}: is no folder, and no archive that is read ({', '.join(ARCHIVES)}): "
                "unpack it, or name the folder"
            )
        return [open_archive(path)]
    below = FolderFiles(path)
    archives = [] if any(map(is_picture, below.names)) else paths_within(below, ARCHIVES)
    return [open_archive(archive) for archive in archives] or [below]


def layout_of(
    sources: Sequence[Files],
    class_depth: int | None,
    without: Collection[tuple[str, ...]] = (),
) -> Layout:
    """What the sources hold, but for some pictures (path of the source, name).

    Raises DataError if two folders claim to be the same split.
    """
    placed = [
        (_parts(files, name, alone=len(sources) == 1), Picture(files, name))
        for files in sources
        for name in files.names
        if not without or (str(files.path), name) not in without
    ]
    said: list[str] = []
    pictures = [(parts, p) for parts, p in placed if is_picture(p.name)]
    lists = {p.name: rows_in(p) for p in lists_in(p for _, p in placed)}
    used = {name for name, rows in lists.items() if rows}
    if others := passed_over(p.name for _, p in placed if p.name not in used):
        said.append(f"passed over: {others}")
    said += _spelt_in_two_ways(p for _, p in pictures)
    if listed := _listed(lists, pictures, said):
        return listed
    pictures = _without_wrapper(pictures, said)
    named = _named_splits(pictures, said)
    roots = _split_roots(pictures, named, said) if named else {"": pictures}
    if named:
        roots = {split: _without_wrapper(root, said, top=False) for split, root in roots.items()}
    guesses: list[str] = []
    depth = class_depth or _guessed_depth(roots, guesses)
    found = {split: _classes(root, depth, said) for split, root in roots.items()}
    if named:
        return Layout(splits=found, classes=[], said=said, guesses=guesses)
    return Layout(splits={}, classes=found[""], said=said, guesses=guesses)


def _parts(files: Files, name: str, *, alone: bool) -> tuple[str, ...]:
    """Below the folder; an archive beside others is a folder of its own name."""
    parts = tuple(composed(name_within(files, name)).split("/"))
    is_folder = files.path.is_dir()
    return parts if alone or is_folder else (stem(files.path.name), *parts)


def _spelt_in_two_ways(pictures: Iterable[Picture]) -> list[str]:
    """One sentence for each folder name that is there in two Unicode spellings."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for folder in {p.name.rpartition("/")[0] for p in pictures}:
        for part in folder.split("/"):
            spellings[composed(part)].add(part)
    twice = sorted(name for name in spellings if len(spellings[name]) > 1)
    return [f"{name} is spelt in two ways (Unicode NFC and NFD): taken for one" for name in twice]


def _listed(
    lists: Mapping[str, Sequence[Row]], placed: list[Placed], said: list[str]
) -> Layout | None:
    """The classes that lists name; None without lists.

    Lists that tell no classes for validation or test from the others, such as a `train.csv` alone,
    say which class a picture is of, unless folders are splits.
    """
    rows = [row for some in lists.values() for row in some]
    split = any(row.split in ("val", "test") for row in rows)
    if not split and _named_splits(_without_wrapper(placed, []), []):
        return None
    rows = [row if split else row._replace(split=None) for row in rows if row.split or not split]
    pictures = [picture for _, picture in placed]
    found, absent = by_lists(rows, pictures)
    if not found:
        return None
    left = len(pictures) - len({p for cs in found.values() for ps in cs.values() for p in ps})
    names = ", ".join(sorted(name.rpartition("/")[2] for name in lists if lists[name]))
    said.append(
        (f"split by {names}" if split else f"classes by {names}, split at random")
        + (f"; {absent} of {len(rows)} entries name nothing that is there" if absent else "")
        + (f"; {left} pictures are in no list" if left else "")
    )
    by_split = {
        split: [PictureClass(label, classes[label]) for label in sorted(classes)]
        for split, classes in found.items()
    }
    splits = {split: by_split[split] for split in SPLITS if split in by_split}
    return Layout(splits=splits, classes=by_split.get(None, []), said=said, guesses=[])


def _without_wrapper(pictures: list[Placed], said: list[str], *, top: bool = True) -> list[Placed]:
    """The same below folders that hold everything, as archives unpack them.

    At the top, a split to be tested may be all that there is.
    """
    while pictures:
        tops = {parts[0] for parts, _ in pictures}
        deep = all(len(parts) > 2 for parts, _ in pictures)
        a_split = top and split_of(next(iter(tops))) in ("val", "test")
        if len(tops) > 1 or not deep or a_split:
            return pictures
        said.append(f"everything lies in {next(iter(tops))}/, which is taken for the top")
        pictures = [(parts[1:], picture) for parts, picture in pictures]
    return pictures


def _named_splits(pictures: Sequence[Placed], said: list[str]) -> dict[str, str]:
    """The top folders that are splits, with the split; empty if there are none.

    A folder without class folders in it is none: a class may be called train.
    """
    tops = {parts[0] for parts, _ in pictures if len(parts) > 1}
    with_folders = {parts[0] for parts, _ in pictures if len(parts) > 2}
    named = {top: s for top in sorted(with_folders) if (s := split_of(top)) is not None}
    classes = sorted(top for top in tops if split_of(top) and top not in named)
    if named and (len(set(named.values())) > 1 or len(named) == len(tops)):
        return named
    if classes or named:
        said.append(f"{' and '.join([*classes, *named])} is taken for a class, not for a split")
    return {}


def _split_roots(
    pictures: Sequence[Placed], named: Mapping[str, str], said: list[str]
) -> dict[str, list[Placed]]:
    """The pictures of each split, below its folder; raises DataError if it has two folders."""
    homes = {split: [top for top in named if named[top] == split] for split in SPLITS}
    if twice := [tops for tops in homes.values() if len(tops) > 1]:
        raise DataError(*(f"{' and '.join(tops)} are the same split: rename one" for tops in twice))
    renamed = [f"{top}/ for {split}" for top, split in named.items() if top != split]
    if renamed:
        said.append(f"taken for splits: {', '.join(renamed)}")
    if others := sorted({parts[0] for parts, _ in pictures} - set(named)):
        left = sum(parts[0] not in named for parts, _ in pictures)
        said.append(f"left out beside the splits: {_some(others)} ({left} pictures)")
    return {
        split: [(parts[1:], picture) for parts, picture in pictures if parts[0] == tops[0]]
        for split, tops in homes.items()
        if tops
    }


def _guessed_depth(roots: Mapping[str, Sequence[Placed]], guesses: list[str]) -> int:
    """1: the outer folders are the classes; says so if the inner ones could be."""
    inner: dict[tuple[str, str], set[str]] = defaultdict(set)
    flat = set()
    for split, root in roots.items():
        for parts, _ in root:
            if len(parts) > 2:
                inner[split, parts[0]].add(parts[1])
            elif len(parts) == 2:
                flat.add((split, parts[0]))
    if inner and not flat and any(len(folders) > 1 for folders in inner.values()):
        number = sum(map(len, inner.values()))
        outer = sorted(top for _, top in inner)
        guesses.append(
            f"two levels of folders: the {len(inner)} outer ones are taken for the classes "
            f"({_some(outer)}); dataset.class_depth=2 takes the {number} inner ones, and "
            "dataset.class_depth=1 says that the outer ones are meant"
        )
    return 1


def _classes(root: Sequence[Placed], depth: int, said: list[str]) -> list[PictureClass]:
    """The pictures by the folders that many levels deep, whatever lies below."""
    by_label: dict[str, list[Picture]] = defaultdict(list)
    for parts, picture in root:
        if len(parts) > depth:
            by_label["/".join(parts[:depth])].append(picture)
    if left := len(root) - sum(map(len, by_label.values())):
        said.append(f"{left} pictures lie in no class folder and are left out")
    return [PictureClass(label, by_label[label]) for label in sorted(by_label)]


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
