"""Figures of a run: panels at fixed places, and files."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from maml_cli.storage.files import write_atomically


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Room around a grid of panels and between them, in inches.

    Fixed places are drawn in half the time that matplotlib needs to find places by itself.
    """

    left: float = 0.75
    right: float = 0.15
    top: float
    bottom: float = 0.55
    across: float = 0.15
    down: float = 0.15

    def grid(self, figure: Figure, rows: int, columns: int) -> dict[str, Any]:
        """The same as `gridspec_kw` of `figure.subplots(rows, columns)`."""
        width, height = figure.get_size_inches()
        across = (width - self.left - self.right - (columns - 1) * self.across) / columns
        down = (height - self.top - self.bottom - (rows - 1) * self.down) / rows
        return {
            "left": self.left / width,
            "right": 1 - self.right / width,
            "top": 1 - self.top / height,
            "bottom": self.bottom / height,
            "wspace": self.across / across,
            "hspace": self.down / down,
        }


def write_png(figure: Figure, path: Path) -> None:
    """Write the figure, whole or not at all, never through a link; raises StorageError."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())


def read_png(path: Path) -> np.ndarray:
    """The pixels of such a file, `(height, width, 3)` bytes."""
    with Image.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))
