"""TensorBoard events; every algorithm's scalars have the same names."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from maml_cli.core.records import Curves, EpochRecord, IterationRecord, RunInfo, Sink
from maml_cli.core.results import RunResults
from maml_cli.core.types import Episode
from maml_cli.reporting.figures import read_png
from maml_cli.reporting.images import IMAGE_BATCH, episode_grid
from maml_cli.reporting.scalars import of_descents, of_epoch, of_iteration, of_test
from maml_cli.storage.files import storing
from maml_cli.storage.run_folder import RunFolder


class TensorBoard(Sink):
    """Writes `tensorboard/`; the step of every scalar is the number of outer updates done.

    Only that of `test_course` is the number of an optimiser's steps on test problems. The pictures
    are those that the sinks before it wrote into the run's folder.
    """

    def __init__(self) -> None:
        self._open = ExitStack()

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._info = info
        directory = RunFolder(info.output_dir).tensorboard
        self._open.enter_context(storing(directory))  # its thread tells of a full disk when closed
        self._open.enter_context(_no_traceback_of_storage())
        with storing(directory):
            writer = SummaryWriter(str(directory), purge_step=_purged(info))
            self._writer = self._open.enter_context(writer)
        if info.start_iteration:
            return  # the pages have it already
        self._writer.add_text("command", f"    {info.protocol.command}")
        self._writer.add_custom_scalars(charts(info.metric.name))
        if preview is not None and preview.support_x.dim() == IMAGE_BATCH:
            grid = episode_grid(preview)
            self._writer.add_image("episode/support_above_queries", grid)

    def iteration(self, record: IterationRecord) -> None:
        self._add(of_iteration(record, self._info.metric.name), record.iteration)

    def epoch(self, record: EpochRecord) -> None:
        self._add(of_epoch(record, self._info.metric.name), record.iteration)

    def flush(self) -> None:
        self._writer.flush()

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        step = results.iterations
        for picture in filter(Path.is_file, RunFolder(self._info.output_dir).pictures):
            self._writer.add_image(picture.stem, read_png(picture), step, dataformats="HWC")
        for steps, scalars in of_descents(results).items():
            self._add(scalars, steps)
        hparams = {
            key: str(value) if isinstance(value, bool) else value  # the page shows 1.000 for True
            for key, value in self._info.hparams.items()
        }
        self._writer.add_hparams(hparams, of_test(results), run_name=".", global_step=step)

    def close(self) -> None:
        self._open.close()

    def _add(self, scalars: dict[str, float], step: int) -> None:
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, step)


@contextmanager
def _no_traceback_of_storage() -> Iterator[None]:
    """TensorBoard's thread hands its OSError to the main one, and would print it as well."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, OSError):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def charts(metric: str) -> dict[str, dict[str, list[object]]]:
    """The layout of the custom-scalars page: the inner steps of a kind together in one chart."""
    return {
        "inner loop": {
            f"validation {metric}": ["Multiline", [rf"^val/{metric}/step_\d+$"]],
            f"training {metric}": ["Multiline", [rf"^train/{metric}/step_\d+$"]],
            "query loss": ["Multiline", [r"^train/query_loss/step_\d+$"]],
            "step weights": ["Multiline", [r"^step_weights/step_\d+$"]],
            "inner rates": ["Multiline", [r"^inner_rates/.*"]],
        }
    }


def _purged(info: RunInfo) -> int:
    """The step from which on the pages forget what an interrupted run wrote."""
    return info.start_iteration + 1 if info.start_iteration else 0
