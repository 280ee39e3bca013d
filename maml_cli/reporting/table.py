"""The table of results: `table.md`, and the same in the terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from tabulate import tabulate

from maml_cli.core.calibration import Calibration
from maml_cli.core.metric import LOSS
from maml_cli.core.plain_text import markdown_cell, printable
from maml_cli.core.records import Curves, RunInfo, Sink
from maml_cli.core.results import (
    MILESTONES,
    Descents,
    EvaluationResult,
    Protocol,
    RunResults,
)
from maml_cli.core.stats import Estimate
from maml_cli.core.types import Episode
from maml_cli.reporting.calibration import explanation, readings, score_cells, score_header
from maml_cli.reporting.format import count, show, show_interval
from maml_cli.reporting.terminal_table import TerminalTable
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder

MARK = "†"
"""Marks the numbers that a remark is about."""
SPLITS = {"val": "validation", "test": "test"}
BATCH_NORM = {
    "batch": "the statistics of the batch at hand",
    "support": "the statistics of the support set",
    "support_and_query": "the statistics of the support set with one query at a time",
    "running": "running statistics",
}


class Table(NamedTuple):
    """Rows of text under a header."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class TableFile(Sink):
    """Writes `table.md`."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._info = info

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        run = self._info.protocol
        text = f"# {markdown_cell(run.title)}\n\n{markdown(results)}\n`{printable(run.command)}`\n"
        write_atomically(RunFolder(self._info.output_dir).table, text)


def markdown(results: RunResults) -> str:
    """The tables and, in a sentence, what their numbers are, for `table.md` and for pipes."""
    blocks = [
        tabulate(
            [list(map(markdown_cell, row)) for row in table.rows],
            list(map(markdown_cell, table.header)),
            tablefmt="github",
            disable_numparse=True,
        )
        for table in tables(results)
    ]
    notes = map(markdown_cell, (caption(results), *footnotes(results)))
    return "\n\n".join([*blocks, *notes]) + "\n"


def terminal_tables(results: RunResults) -> list[TerminalTable]:
    """The same tables for a terminal."""
    return [TerminalTable(table.header, table.rows) for table in tables(results)]


def tables(results: RunResults) -> list[Table]:
    """The result, and the metric after each inner step, in one table or in two.

    A metric that is reported per step has one table with a row per step.
    """
    protocol, test, metric = results.protocol, results.test, results.metric
    mark = f" {MARK}" if remarks(results) else ""
    columns = (
        f"{SPLITS[test.split]} {metric.name}, ensemble of {test.ensemble_size}{mark}",
        f"{SPLITS[test.split]} {metric.name}, single best{mark}",
    )

    def shown(estimate: Estimate) -> str:
        return show_interval(metric, estimate.mean, estimate.ci95)

    if test.descents is not None:
        return [_losses(test, test.descents, mark)]
    probabilities = _probabilities(test.calibration)
    if metric.per_step:
        both = [
            (str(step), shown(estimate), shown(test.single.estimates[step]))
            for step, estimate in test.ensemble.estimates.items()
        ]
        return [Table(("inner steps", *columns), both), *probabilities]
    row = (
        protocol.algo,
        protocol.dataset,
        str(protocol.ways),
        str(protocol.shots),
        shown(test.ensemble.last),
        shown(test.single.last),
    )
    by_step = [(str(step), shown(e)) for step, e in test.by_step.estimates.items()]
    heading = columns[0] if test.course is None else columns[1]
    return [
        Table(("algo", "dataset", "ways", "shots", *columns), [row]),
        *([Table(("inner steps", heading), by_step)] if len(by_step) > 1 else []),
        *probabilities,
    ]


def _losses(test: EvaluationResult, descents: Descents, mark: str) -> Table:
    """The losses of optimisation problems at the start, after the milestones, and last."""
    told = {0, *MILESTONES, test.inner_steps}
    metric = LOSS
    rows = [
        (
            f"{step:,}",
            show_interval(metric, estimate.mean, estimate.ci95),
            show(metric, spread.median),
            f"{show(metric, spread.low)} to {show(metric, spread.high)}",
            str(spread.diverged),
        )
        for step, spread in descents.spread.items()
        if step in told and (estimate := test.single.estimates[step])
    ]
    what = f"{SPLITS[test.split]} {metric.name}"
    return Table(
        ("steps", f"{what}, mean{mark}", "median", "middle half of the problems", "diverged"), rows
    )


def _probabilities(calibration: Calibration | None) -> list[Table]:
    """The scores of the ensemble's probabilities, a row for each reading of the outputs."""
    if calibration is None:
        return []
    rows = [(name, *score_cells(reading)) for name, reading in readings(calibration).items()]
    return [Table(("probabilities", *score_header(calibration)), rows)]


def caption(results: RunResults) -> str:
    """What the numbers are: the interval, what it is over, and the protocol."""
    protocol, test = results.protocol, results.test
    if test.descents is not None:
        return _caption_of_problems(results, test.descents)
    per = "class" if protocol.ways > 1 else "task"
    parts = [
        f"Mean over {test.episodes:,} {SPLITS[test.split]} episodes ± its 95 % Student-t interval "
        "over episodes",
        f"{_examples(protocol.shots, protocol.queries)} per {per}",
    ]
    if in_training := _in_training(protocol):
        parts.append(f"in training {', '.join(in_training)}")
    if protocol.task_pool is not None:
        pool = count(protocol.task_pool, "fixed task", "fixed tasks")
        parts.append(f"training draws from {pool} only")
    steps = count(test.inner_steps, "inner step", "inner steps")
    if protocol.own_steps not in (None, test.inner_steps):
        parts.append(f"{steps} in the test, {protocol.own_steps} by the algorithm's settings")
    elif not results.metric.per_step:
        parts.append(steps)
    if test.course is not None and test.course.last.n < test.episodes:
        few = count(test.course.last.n, "episode", "episodes")
        parts.append(f"accuracy after each of them over the first {few}")
    if test.bn_stats is not None:
        parts.append(f"batch norm by {BATCH_NORM[test.bn_stats]}")
    parts += [
        *_samples(test.calibration),
        f"the ensemble averages the outputs of {count(test.ensemble_size, 'epoch', 'epochs')}",
        f"{count(results.iterations, 'iteration', 'iterations')} of "
        f"{count(protocol.tasks_per_batch, 'task', 'tasks')}",
        f"seed {protocol.seed}",
    ]
    return "; ".join(parts) + "."


def _caption_of_problems(results: RunResults, descents: Descents) -> str:
    test = results.test
    training = count(results.iterations, "iteration", "iterations")
    tasks = count(results.protocol.tasks_per_batch, "problem", "problems")
    parts = [
        f"Mean over {test.episodes:,} {SPLITS[test.split]} problems ± its 95 % Student-t interval "
        "over problems",
        "the loss is that which the next step descends on",
        "a problem diverged if its loss is above that of its start, or not finite",
        f"{training} of {tasks}",
        f"{1e6 * descents.seconds_per_step:,.0f} µs per step and problem in the test",
        f"seed {results.protocol.seed}",
    ]
    return "; ".join(parts) + "."


def _samples(calibration: Calibration | None) -> list[str]:
    """That a prediction is a mean, if it is."""
    if calibration is None or calibration.samples == 1:
        return []
    return [f"predictions are means of {calibration.samples} samples"]


def _in_training(protocol: Protocol) -> list[str]:
    """The sizes that training episodes have, where they differ from those of the test."""
    ways = protocol.train_ways or protocol.ways
    shots = protocol.train_shots or protocol.shots
    queries = protocol.train_queries or protocol.queries
    found = []
    if ways != protocol.ways:
        found.append(count(ways, "way", "ways"))
    if (shots, queries) != (protocol.shots, protocol.queries):
        found.append(_examples(shots, queries))
    return found


def _examples(shots: int, queries: int) -> str:
    return f"{count(shots, 'shot', 'shots')} and {count(queries, 'query', 'queries')}"


def footnotes(results: RunResults) -> list[str]:
    """What scores of probabilities are; the remarks, marked as in the table; what was learned."""
    test = results.test
    said = []
    if test.calibration is not None:
        said = [explanation(test.calibration, in_sample=test.split == "val")]
    return [*said, *(f"{MARK} {remark}" for remark in remarks(results)), *results.learned]


def remarks(results: RunResults) -> list[str]:
    """What a reader of the numbers must know: of the data, and of what is not finite."""
    test, found = results.test, list(results.protocol.remarks)
    if test.not_finite:
        effect = "count as wrong" if results.metric.unit == "%" else "are in the mean"
        found.append(
            f"outputs are not finite in {test.not_finite:,} of {test.episodes:,} "
            f"{SPLITS[test.split]} episodes; they {effect}"
        )
    if results.iterations_skipped:
        skipped = count(results.iterations_skipped, "iteration", "iterations")
        found.append(f"training passed over {skipped} whose loss or gradient was not finite")
    return found
