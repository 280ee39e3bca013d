"""A figure as a file of a run."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from maml_cli.storage.files import write_atomically


def write_png(figure: Figure, path: Path) -> None:
    """Write the figure, whole or not at all, never through a link; raises StorageError."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())
