"""Small pictures and trees of them, each told from the others by its colour."""

import io
import pickle
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
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


def write_pickles(root: Path, files: Tree) -> None:
    """`mini-imagenet-cache-SPLIT.pkl` of a `tree`."""
    root.mkdir(parents=True, exist_ok=True)
    for split in {name.split("/")[0] for name in files}:
        chosen = [name for name in sorted(files) if name.startswith(split)]
        labels = [name.split("/")[1] for name in chosen]
        content = {
            "image_data": np.stack([pixels(files[name]) for name in chosen]),
            "class_dict": {c: [i for i, v in enumerate(labels) if v == c] for c in set(labels)},
        }
        (root / f"mini-imagenet-cache-{split}.pkl").write_bytes(pickle.dumps(content, 4))


def drawing(code: int) -> bytes:
    """A one-bit PNG of 105 x 105 pixels: `code` in binary, as black squares of 15 pixels.

    The lowest bit is at the top left; the next ones follow to the right, seven a row.
    """
    white = np.array([not code >> bit & 1 for bit in range(49)]).reshape(7, 7)
    file = io.BytesIO()
    Image.fromarray(np.kron(white, np.ones((15, 15), bool))).save(file, "PNG")
    return file.getvalue()


def drawings(
    alphabets: Mapping[str, Mapping[str, int]], part: str, count: int
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a part; its i-th character (from 1) shows the number i."""
    code = 0
    for alphabet, characters in alphabets[part].items():
        for character in range(1, characters + 1):
            code += 1
            content = drawing(code)
            for i in range(1, count + 1):
                yield f"{part}/{alphabet}/character{character:02d}/{code:04d}_{i:02d}.png", content


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
