"""Images of ten classes to fit a network to: drawn digits, and files in the format of MNIST."""

import gzip
import shutil
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maml_cli.core.errors import DataError
from maml_cli.core.settings import RunSettings
from maml_cli.core.torchvision_guard import import_torchvision
from maml_cli.data.cache import cached_images
from maml_cli.data.glyph_renderer import SIZE, rendered
from maml_cli.data.images import ImagePool, consecutive
from maml_cli.problems.image_problems import Pictures

DIGITS = "0123456789"
DRAWN = {"train": 480, "val": 60, "test": 180}
"""Pictures of each digit."""
VALIDATION = 5000
"""Of the training images, the last ones."""
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def drawn_digits(run: RunSettings, device: torch.device) -> Pictures:
    """The digits in DejaVu's faces, turned, sheared, stretched and moved; ink 255 on 0."""
    each = sum(DRAWN.values())
    images, _ = cached_images(
        Path(run.cache_dir),
        "drawn_digits",
        key=f"version 1, matplotlib {version('matplotlib')}, pillow {version('pillow')}",
        shape=(len(DIGITS), each, 1, SIZE, SIZE),
        pieces=lambda: enumerate(rendered(DIGITS, each)),
    )
    pools, first = {}, 0
    for split, count in DRAWN.items():
        part = torch.from_numpy(images[:, first : first + count].copy())
        counts = np.full(len(DIGITS), count)
        pools[split] = ImagePool(images=part.flatten(0, 1).to(device), classes=consecutive(counts))
        first += count
    return Pictures(pools, (f"drawn digits, no handwriting: {DRAWN['train']} pictures of each",))


class Source(NamedTuple):
    """A data set in the format of MNIST."""

    title: str
    folders: tuple[str, ...]
    """Below `data_dir`; the second is where torchvision puts it."""
    torchvision: str
    """Its class in torchvision.datasets."""


MNIST = Source("MNIST", ("mnist", "MNIST/raw"), "MNIST")
FASHION_MNIST = Source(
    "Fashion-MNIST", ("fashion-mnist", "FashionMNIST/raw", "fashion_mnist"), "FashionMNIST"
)


def mnist_files(source: Source) -> Callable[[RunSettings, torch.device], Pictures]:
    """A loader of these files, plain or with .gz; raises DataError."""

    def load(run: RunSettings, device: torch.device) -> Pictures:
        folder = _folder(source, run)
        if folder is None and run.download:
            dataset = getattr(import_torchvision("torchvision.datasets"), source.torchvision)
            try:
                dataset(run.data_dir, download=True)
            except (OSError, RuntimeError) as error:
                raise DataError(f"{source.title} cannot be fetched ({error})") from error
            folder = _folder(source, run)
        if folder is None:
            raise DataError(
                f"{source.title}: {Path(run.data_dir).absolute()} has no {source.folders[0]} with "
                f"{' and '.join(FILES['train'])}, plain or with .gz.",
                "Set data_dir (or MAML_DATA_DIR) to the folder that holds it, set download=true, "
                "or take the digits that the program draws: dataset.images=drawn.",
            )
        train, test = _read(folder, FILES["train"], VALIDATION), _read(folder, FILES["test"], 0)
        parts = {
            "train": _Labelled(*(t[:-VALIDATION] for t in train)),
            "val": _Labelled(*(t[-VALIDATION:] for t in train)),
            "test": test,
        }
        pools = {split: _pool(part, device) for split, part in parts.items()}
        sizes = ", ".join(f"{len(p.images):,} for {split}" for split, p in pools.items())
        return Pictures(pools, (f"{source.title}: {sizes}",))

    return load


def _folder(source: Source, run: RunSettings) -> Path | None:
    names = [name for pair in FILES.values() for name in pair]
    for place in source.folders:
        folder = Path(run.data_dir, place)
        if all(_file(folder, name) is not None for name in names):
            return folder
    return None


def _file(folder: Path, name: str) -> Path | None:
    found = (folder / name, folder / f"{name}.gz")
    return next((path for path in found if path.is_file()), None)


class _Labelled(NamedTuple):
    images: Tensor
    """`(n, height, width)`"""
    labels: Tensor
    """`(n,)`"""


def _read(folder: Path, names: tuple[str, str], more_than: int) -> _Labelled:
    """The images and labels of these files, by torchvision's readers."""
    mnist: Any = import_torchvision("torchvision.datasets.mnist")
    images = _read_file(folder, names[0], mnist.read_image_file)
    labels = _read_file(folder, names[1], mnist.read_label_file)
    classes = len({*labels.tolist()})
    if len(images) != len(labels) or len(images) <= more_than or classes != len(DIGITS):
        raise DataError(
            f"{folder}: {names[0]} has {len(images):,} images, {names[1]} {len(labels):,} labels "
            f"of {classes} classes; wanted are as many images as labels, more than "
            f"{more_than:,}, of ten classes"
        )
    return _Labelled(images, labels)


def _read_file(folder: Path, name: str, read: Callable[[str], Tensor]) -> Tensor:
    """The tensor in a file; those with .gz are unpacked aside, for torchvision reads plain ones."""
    path = _file(folder, name) or folder / name
    try:
        if path.suffix != ".gz":
            return read(str(path))
        with tempfile.NamedTemporaryFile() as plain, gzip.open(path) as packed:
            shutil.copyfileobj(packed, plain)
            plain.flush()
            return read(plain.name)
    except (OSError, EOFError, ValueError, AssertionError, RuntimeError, KeyError) as error:
        raise DataError(
            f"{path}: not a whole file of MNIST's format ({error}): get it again"
        ) from error


def _pool(part: _Labelled, device: torch.device) -> ImagePool:
    """The images class by class."""
    images = part.images[part.labels.argsort(stable=True)].unsqueeze(1)
    counts = part.labels.bincount(minlength=len(DIGITS)).numpy()
    return ImagePool(images=images.to(device), classes=consecutive(counts))


LOADERS: Mapping[str, Callable[[RunSettings, torch.device], Pictures]] = {
    "drawn": drawn_digits,
    "mnist": mnist_files(MNIST),
    "fashion_mnist": mnist_files(FASHION_MNIST),
}
