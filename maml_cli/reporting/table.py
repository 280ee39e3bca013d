"""The table of results: `table.md`, and the same in the terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table as RichTable
from tabulate import tabulate

from maml_cli.core.records import Curves, Results, RunInfo, Sink
from maml_cli.core.types import Episode
from maml_cli.reporting.format import count, show_interval
from maml_cli.storage.files import write_atomically

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

    def finish(self, results: Results, curves: Curves | None) -> None:
        text = f"# {self._info.title}\n\n{markdown(results)}\n`{self._info.command}`\n"
        write_atomically(self._info.output_dir / "table.md", text)


def markdown(results: Results) -> str:
    """The tables and, in a sentence, what their numbers are, for `table.md` and for pipes."""
    blocks = [
        tabulate(table.rows, table.header, tablefmt="github", disable_numparse=True)
        for table in tables(results)
    ]
    return "\n\n".join([*blocks, caption(results), *footnotes(results)]) + "\n"


def terminal_tables(results: Results) -> list[RichTable]:
    """The same tables for a terminal."""
    shown = []
    for table in tables(results):
        rich_table = RichTable(*table.header, box=box.SIMPLE_HEAD)
        for row in table.rows:
            rich_table.add_row(*row)
        shown.append(rich_table)
    return shown


def tables(results: Results) -> list[Table]:
    """One table; a second one where a classifier's accuracy is known after each inner step."""
    test, single, metric = results["test"], results["test_single"], results["metric"]
    mark = f" {MARK}" if results["remarks"] else ""
    split = _split(results)
    columns = (
        f"{split} {metric}, ensemble of {test['ensemble']}{mark}",
        f"{split} {metric}, single best{mark}",
    )
    if "steps" in test:
        rows = [
            (str(step), show_interval(metric, *ensemble), show_interval(metric, *best))
            for step, ensemble, best in zip(
                test["steps"],
                zip(test["mean"], test["ci95"], strict=True),
                zip(single["mean"], single["ci95"], strict=True),
                strict=True,
            )
        ]
        return [Table(("inner steps", *columns), rows)]

    row = (
        results["algo"],
        results["dataset"],
        str(results["ways"]),
        str(results["shots"]),
        show_interval(metric, test["mean"], test["ci95"]),
        show_interval(metric, single["mean"], single["ci95"]),
    )
    found = [Table(("algo", "dataset", "ways", "shots", *columns), [row])]
    if "test_per_step" in results:
        by_step = results["test_per_step"]
        steps = zip(by_step["steps"], by_step["mean"], by_step["ci95"], strict=True)
        accuracies = [(str(step), show_interval(metric, mean, ci95)) for step, mean, ci95 in steps]
        found.append(Table(("inner steps", columns[0]), accuracies))
    return found


def caption(results: Results) -> str:
    """What the numbers are: the interval and over what, and the protocol."""
    test = results["test"]
    per = "class" if results["metric"] == "accuracy" else "task"
    parts = [
        f"Mean over {test['episodes']:,} {_split(results)} episodes ± its 95 % Student-t interval "
        "over episodes",
        f"{_examples(results['shots'], results['queries'])} per {per}",
    ]
    if in_training := _in_training(results):
        parts.append(f"in training {', '.join(in_training)}")
    if results["task_pool"] is not None:
        pool = count(results["task_pool"], "fixed task", "fixed tasks")
        parts.append(f"training draws from {pool} only")
    if "steps" not in test:
        parts.append(count(results["inner_steps"], "inner step", "inner steps"))
    if results["bn_stats"] is not None:
        parts.append(f"batch norm by {BATCH_NORM[results['bn_stats']]}")
    parts += [
        f"the ensemble averages the outputs of {count(test['ensemble'], 'epoch', 'epochs')}",
        f"{count(results['iterations'], 'iteration', 'iterations')} of "
        f"{count(results['tasks_per_batch'], 'task', 'tasks')}",
        f"seed {results['seed']}",
    ]
    return "; ".join(parts) + "."


def _in_training(results: Results) -> list[str]:
    """The sizes that training episodes have, where they differ from those of the test."""
    examples = (results["train_shots"], results["train_queries"])
    found = []
    if results["train_ways"] != results["ways"]:
        found.append(count(results["train_ways"], "way", "ways"))
    if examples != (results["shots"], results["queries"]):
        found.append(_examples(*examples))
    return found


def _examples(shots: int, queries: int) -> str:
    return f"{count(shots, 'shot', 'shots')} and {count(queries, 'query', 'queries')}"


def _split(results: Results) -> str:
    """What the episodes are drawn from; a run's own test does not say it."""
    return SPLITS[results.get("split", "test")]


def footnotes(results: Results) -> list[str]:
    """The remarks, marked as in the table."""
    return [f"{MARK} {remark}" for remark in results["remarks"]]
