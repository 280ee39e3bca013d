"""Small pictures and trees of them, each told from the others by its colour."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

Tree = Mapping[str, bytes]


def colour(split: int, label: int, image: int) -> tuple[int, int, int]:
    return (80 * split, 40 * label, 20 * image)


def png(value: object, mode: str = "RGB", size: tuple[int, int] = (84, 84)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, "PNG")
    return file.getvalue()


def tree(classes: Mapping[str, int], images: int) -> dict[str, bytes]:
    """`SPLIT/SPLITn/IMAGE.png` for so many classes of each split, all images of one colour."""
    return {
        f"{split}/{split}{label}/{image:02d}.png": png(colour(s, label, image))
        for s, (split, number) in enumerate(classes.items())
        for label in range(number)
        for image in range(images)
    }


def write_files(root: Path, files: Tree) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def write_zip(path: Path, files: Tree) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_tar(path: Path, files: Tree, mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
