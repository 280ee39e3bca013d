"""What a person sees: a progress bar in a terminal, plain lines anywhere else."""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from maml_cli.core.records import Curves, EpochRecord, IterationRecord, RunInfo, Sink
from maml_cli.core.results import RunResults
from maml_cli.core.types import Episode
from maml_cli.reporting.format import count, show, show_interval, show_speed, show_toggles
from maml_cli.reporting.table import SPLITS, caption, footnotes, markdown, terminal_tables
from maml_cli.reporting.terminal_table import TerminalTable
from maml_cli.storage.run_folder import RunFolder


class Console(Sink):
    """Progress on stderr, the table on stdout.

    Where stderr is no terminal there are plain lines, without control characters: one per epoch and
    in between one every `seconds_per_line`.
    """

    def __init__(self, seconds_per_line: float = 10.0) -> None:
        self._err = RichConsole(stderr=True, highlight=False)
        self._out = RichConsole(highlight=False)
        self._live = self._err.is_terminal and not self._err.is_dumb_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._err,
            expand=True,
            disable=not self._live,
            speed_estimate_period=300.0,  # long, so that the pauses for validation are counted in
        )
        self._seconds_per_line = seconds_per_line
        self._last_line = -float("inf")

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._info = info
        for label, text in header(info):
            self._say(Text.assemble((f"{label:<11} ", "bold"), text))
        self._training = self._bar.add_task(
            "train",
            completed=info.start_iteration,
            total=info.iterations,
            status="",
            visible=info.start_iteration < info.iterations,
        )
        self._evaluation = self._bar.add_task("", total=None, status="", visible=False)
        self._bar.start()
        self._started = monotonic()

    def iteration(self, record: IterationRecord) -> None:
        metric = f"{self._info.metric.name} {show(self._info.metric, record.metric)}"
        speed = show_speed(record.iterations_per_second)
        status = f"loss {record.loss:.4f}  {metric}  {speed}"
        self._bar.update(self._training, completed=record.iteration, status=status)
        if not self._live and self._line_is_due():
            spent = monotonic() - self._started
            done = record.iteration - self._info.start_iteration
            left = spent / done * (self._info.iterations - record.iteration)
            self._say(
                f"iteration {record.iteration}/{self._info.iterations}  {status}  "
                f"left {_clock(left)}"
            )

    def epoch(self, record: EpochRecord) -> None:
        estimate = record.reported
        shown = show_interval(self._info.metric, estimate.mean, estimate.ci95)
        best = "  best so far" if record.best else ""
        self._say(
            f"epoch {record.epoch + 1}/{self._info.epochs}  "
            f"validation {self._info.metric.name} {shown}{best}"
        )

    def evaluating(self, split: str, done: int, total: int) -> None:
        self._bar.update(
            self._evaluation,
            description=SPLITS[split],
            completed=done,
            total=total,
            visible=done < total,
        )
        if not self._live and split == "test" and self._line_is_due():
            self._say(f"test  {done}/{total} episodes")

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        self._bar.stop()
        self._out.print(Text(f"\n{self._info.protocol.title}\n"), soft_wrap=True)
        if self._out.is_terminal:
            for table in terminal_tables(results):
                self._out.print(table)
            for line in (caption(results), *footnotes(results)):
                self._out.print(Text(line))
        else:
            self._out.out(markdown(results), end="")
        self._say(f"written to {RunFolder(self._info.output_dir).table}")

    def close(self) -> None:
        self._bar.stop()

    def _say(self, line: str | Text) -> None:
        # a Text, since rich reads the brackets in plain strings as markup
        self._err.print(Text.assemble(line), soft_wrap=True)
        self._last_line = monotonic()

    def _line_is_due(self) -> bool:
        return monotonic() - self._last_line >= self._seconds_per_line


def header(info: RunInfo) -> list[tuple[str, str]]:
    """Label and text of each line that says what is run, before it is run."""
    protocol, environment = info.protocol, info.environment
    schedule = (
        count(info.epochs, "epoch", "epochs"),
        count(info.iterations_per_epoch, "iteration", "iterations"),
        count(protocol.tasks_per_batch, "task", "tasks"),
    )
    threads = count(environment.threads, "thread", "threads")
    return [
        ("run", protocol.title),
        ("toggles", show_toggles(protocol.toggles) or "none"),
        ("schedule", " of ".join(schedule)),
        ("device", f"{environment.device}, {threads}, engine {environment.engine}"),
        ("parameters", f"{protocol.parameters:,} learned"),
        ("output", str(info.output_dir)),
        *(("remark", remark) for remark in protocol.remarks),
        *(("note", note) for note in info.notes),
    ]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:d}:{minutes:02d}:{seconds:02d}"


def show_answers(table: TerminalTable, markdown: str, notes: Sequence[str], written: Path) -> None:
    """The answers to somebody's own queries: a table in a terminal, Markdown anywhere else."""
    out, err = RichConsole(highlight=False), RichConsole(stderr=True, highlight=False)
    if out.is_terminal:
        out.print(table)
    else:
        out.out(markdown, end="\n\n")
    for note in notes:
        out.print(Text(note), soft_wrap=True)
    err.print(Text(f"written to {written}"), soft_wrap=True)
