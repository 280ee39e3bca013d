"""Every sink of a run as one."""

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

from maml_cli.core.eval_settings import Keep
from maml_cli.core.records import (
    Curves,
    EpochRecord,
    IterationRecord,
    RunInfo,
    ScoredEpisodes,
    Sink,
)
from maml_cli.core.results import RunResults
from maml_cli.core.settings import Page
from maml_cli.core.types import Episode
from maml_cli.reporting.console import Console
from maml_cli.reporting.kept import kept_files
from maml_cli.reporting.losses import LossesFile
from maml_cli.reporting.metrics import MetricsFile
from maml_cli.reporting.mlflow_store import MlflowStore
from maml_cli.reporting.plots import CurvesFile
from maml_cli.reporting.reliability import ReliabilityFile
from maml_cli.reporting.results import ResultsFile
from maml_cli.reporting.scores import ScoresFile
from maml_cli.reporting.table import TableFile
from maml_cli.reporting.tensorboard import TensorBoard
from maml_cli.reporting.wandb_run import WandbRun


class Reporter(Sink):
    """Tells each sink, in their order; as a context manager, it closes them all."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = tuple(sinks)

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        for sink in self.sinks:
            sink.start(info, preview)

    def iteration(self, record: IterationRecord) -> None:
        for sink in self.sinks:
            sink.iteration(record)

    def epoch(self, record: EpochRecord) -> None:
        for sink in self.sinks:
            sink.epoch(record)

    def evaluating(self, split: str, done: int, total: int) -> None:
        for sink in self.sinks:
            sink.evaluating(split, done, total)

    def flush(self) -> None:
        for sink in self.sinks:
            sink.flush()

    def tested(self, episodes: ScoredEpisodes) -> None:
        for sink in self.sinks:
            sink.tested(episodes)

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        for sink in self.sinks:
            sink.finish(results, curves)

    def close(self) -> None:
        with ExitStack() as closing:  # every sink is closed, even if another one's close() fails
            for sink in self.sinks:
                closing.callback(sink.close)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


LOGGERS: dict[Page, type[Sink]] = {
    "tensorboard": TensorBoard,
    "mlflow": MlflowStore,
    "wandb": WandbRun,
}


def standard_reporter(
    keep: Sequence[Keep] = (), pages: Sequence[Page] = ("tensorboard",)
) -> Reporter:
    """Everything a run writes and shows: the results first, the console that names them last.

    `keep` is `eval.keep`, `pages` is `logger`.
    """
    return Reporter(
        [
            ScoresFile(),
            ResultsFile(),
            TableFile(),
            MetricsFile(),
            CurvesFile(),
            LossesFile(),
            ReliabilityFile(),
            *kept_files(keep),
            *(LOGGERS[page]() for page in dict.fromkeys(pages)),
            Console(),
        ]
    )
