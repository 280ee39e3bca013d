"""What the loggers beside TensorBoard have in common."""

import io
from collections.abc import Mapping, Sequence
from time import time
from typing import NamedTuple

from PIL import Image

from maml_cli.core.records import Curves, EpochRecord, IterationRecord, RunInfo, Sink
from maml_cli.core.results import RunResults
from maml_cli.core.types import Episode
from maml_cli.reporting.images import IMAGE_BATCH, episode_grid
from maml_cli.reporting.scalars import of_descents, of_epoch, of_iteration, of_test

EPISODE = "episode"
"""The picture of the first training episode."""


class Point(NamedTuple):
    """Scalars of one moment."""

    step: int
    """Outer updates done, or for `test_course` the steps of an optimiser."""
    seconds: float
    """Since 1970."""
    scalars: Mapping[str, float]


class Logger(Sink):
    """Gathers scalars, and writes them before each checkpoint and at the end.

    A run that goes on from a checkpoint therefore writes none twice: these stores cannot take a
    number back.
    """

    info: RunInfo

    def __init__(self) -> None:
        self._points: list[Point] = []

    def write(self, points: Sequence[Point]) -> None:
        """Put scalars into the store, which is open."""
        raise NotImplementedError

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self.info = info

    def iteration(self, record: IterationRecord) -> None:
        self._add(record.iteration, of_iteration(record, self.info.metric.name))

    def epoch(self, record: EpochRecord) -> None:
        self._add(record.iteration, of_epoch(record, self.info.metric.name))

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        for steps, scalars in of_descents(results).items():
            self._add(steps, scalars)
        self._add(results.iterations, of_test(results))
        self.flush()

    def flush(self) -> None:
        points, self._points = self._points, []
        if points:
            self.write(points)

    def _add(self, step: int, scalars: Mapping[str, float]) -> None:
        self._points.append(Point(step, time(), scalars))


def episode_png(preview: Episode | None) -> bytes | None:
    """The first episode as a PNG file; None if there is none, or if it has no images."""
    if preview is None or preview.support_x.dim() != IMAGE_BATCH:
        return None
    pixels = (episode_grid(preview) * 255).round().byte().permute(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(content, "png")
    return content.getvalue()
