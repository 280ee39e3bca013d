"""Omniglot's pictures: where they are, whether they are all there, and what they look like."""

import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maml_cli.core.errors import DataError
from maml_cli.core.torchvision_guard import import_torchvision
from maml_cli.data.faults import SHOWN, refuse
from maml_cli.data.files import Files, FolderFiles, ZipFiles
from maml_cli.data.formats import opened
from maml_cli.data.omniglot_alphabets import ALPHABETS
from maml_cli.data.pictures import Recipe
from maml_cli.data.pixel_values import ValueRange
from maml_cli.data.progress import tracked

HOME = "https://github.com/brendenlake/omniglot/tree/master/python"
FOLDERS = (".", "omniglot-py", "python")
"""Where the parts may lie: right there, or as torchvision or the authors' repository has them."""
DRAWINGS = 20
CANVAS = (105, 105)
ADVICE = f"Omniglot is incomplete or damaged; get it again from {HOME}."


class Character(NamedTuple):
    """One class: its label `Alphabet/characterNN` and its drawings, sorted by name."""

    label: str
    files: Files
    drawings: list[str]


def find_parts(root: Path, parts: Mapping[str, Mapping[str, int]] = ALPHABETS) -> dict[str, Files]:
    """The parts found below `root`; an archive, which checks itself, goes before a folder."""
    found: dict[str, Files] = {}
    for part in parts:
        for folder in (root / name for name in FOLDERS):
            if (archive := folder / f"{part}.zip").is_file():
                found[part] = ZipFiles(archive)
            elif (folder / part).is_dir():
                found[part] = FolderFiles(folder / part)
            if part in found:
                break
    return found or _merged(root, parts)


def _merged(root: Path, parts: Mapping[str, Mapping[str, int]]) -> dict[str, Files]:
    """The parts of a tree that holds the alphabets of both, as the official MAML++ code has it."""
    for folder in [root, *sorted(path for path in root.glob("*") if path.is_dir())]:
        if all((folder / alphabet).is_dir() for part in parts for alphabet in parts[part]):
            files = FolderFiles(folder)
            return {part: AlphabetFiles(files, parts[part]) for part in parts}
    return {}


class AlphabetFiles:
    """Those files of a tree that lie in some alphabets."""

    def __init__(self, files: Files, alphabets: Collection[str]) -> None:
        self.path, self.fingerprint = files.path, files.fingerprint
        self.names = [name for name in files.names if name.split("/")[-3] in alphabets]
        self.read, self.place = files.read, files.place


def found_in(root: Path) -> str:
    """What lies in a folder, in a few words."""
    if not root.is_dir():
        return "there is no such folder"
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"in it: {', '.join(names[:SHOWN])}{more}" if names else "it is empty"


def characters(
    parts: Mapping[str, Files],
    alphabets: Mapping[str, Mapping[str, int]] = ALPHABETS,
    drawings: int = DRAWINGS,
) -> list[Character]:
    """All characters of all parts, sorted by label; raises DataError naming what is not right."""
    complete: list[Character] = []
    problems: list[str] = []
    for part, files in parts.items():
        found = defaultdict(list)
        for name in files.names:
            if name.endswith(".png"):
                found["/".join(name.split("/")[-3:-1])].append(name)
        expected = {
            f"{alphabet}/character{number:02d}"
            for alphabet, count in alphabets[part].items()
            for number in range(1, count + 1)
        }
        problems += [f"{files.path}: {label} is missing" for label in sorted(expected - set(found))]
        problems += [
            f"{files.path}: {label} is no character of Omniglot"
            for label in sorted(set(found) - expected)
        ]
        problems += [
            f"{files.path}: {label} has {len(found[label])} of {drawings} drawings"
            for label in sorted(expected & set(found))
            if len(found[label]) != drawings
        ]
        complete += [Character(label, files, names) for label, names in found.items()]
    refuse(problems, ADVICE)
    return sorted(complete, key=lambda character: character.label)


def decoded(classes: list[Character], size: int) -> Iterator[NDArray[np.uint8]]:
    """Each character's drawings, `(1, drawings, 1, size, size)`, strokes 0 on 255.

    Nearest-neighbour sampling of the 105 x 105 drawings, as in the official MAML and MAML++ code:
    it asks Pillow for LANCZOS, which Pillow replaces by NEAREST for pictures of one bit a pixel.
    Raises DataError, at the end, naming the pictures that cannot be read.
    """
    problems: list[str] = []
    for character in tracked(classes, "Decoding Omniglot's characters", len(classes)):
        images = []
        for name in character.drawings:
            try:
                images.append(_decode(character.files, name, size))
            except DataError as error:
                problems += error.messages
        if not problems:
            yield np.stack(images)[None, :, None]
    refuse(problems, ADVICE)


def _decode(files: Files, name: str, size: int) -> NDArray[np.uint8]:
    try:
        content = files.read(name)
        with opened(content) as image:
            image.verify()  # its checksums, which decoding passes over
        with opened(content) as image:
            if image.size != CANVAS:
                raise ValueError("{} x {} pixels instead of {} x {}".format(*image.size, *CANVAS))
            small = _sampled(image, size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{files.path}: {name} is no drawing of Omniglot ({error})") from error
    return np.asarray(small)


def as_drawing(
    image: Image.Image, size: int, values: ValueRange | None = None
) -> NDArray[np.uint8]:
    """A picture of any size and kind as if it were a drawing of Omniglot's, `(1, size, size)`.

    It should show dark strokes on white. All of it is drawn on the canvas of 105 x 105 pixels,
    which is then sampled; a picture of the right size already stays as it is.
    """
    side = size if image.size == (size, size) else CANVAS[0]
    (drawing,) = Recipe(size=side, channels=1, fit="stretch")(image, values)
    return np.asarray(_sampled(Image.fromarray(drawing), size))[None]


def _sampled(drawing: Image.Image, size: int) -> Image.Image:
    return drawing.convert("L").resize((size, size), Image.Resampling.NEAREST)


def download_parts(
    root: Path, missing: list[str], url: str | None = None, md5: Mapping[str, str] | None = None
) -> None:
    """Fetch the archives of the missing parts into `root`, each whole and checked or not at all.

    Address and MD5 sums are torchvision's unless given. Raises DataError if that fails.
    """
    datasets = import_torchvision("torchvision.datasets")
    url = url or datasets.Omniglot.download_url_prefix
    md5 = md5 or datasets.Omniglot.zips_md5
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            for part in missing:
                datasets.utils.download_url(f"{url}/{part}.zip", folder, md5=md5[part])
                Path(folder, f"{part}.zip").replace(root / f"{part}.zip")
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Omniglot could not be downloaded ({error}): get {' and '.join(missing)} (.zip) from "
            f"{HOME} and place them in {root}."
        ) from error
