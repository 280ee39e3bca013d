"""A figure as a file of a run."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from maml_cli.storage.files import write_atomically


def write_png(figure: Figure, path: Path) -> None:
    """Write the figure, whole or not at all, never through a link; raises StorageError."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())


def read_png(path: Path) -> np.ndarray:
    """The pixels of such a file, `(height, width, 3)` bytes."""
    with Image.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))
