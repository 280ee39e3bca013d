"""The table of results: `table.md`, and the same in the terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table as RichTable
from tabulate import tabulate
from typing_extensions import override

from maml_cli.core.types import Episode
from maml_cli.reporting.files import write_atomically
from maml_cli.reporting.format import show_interval
from maml_cli.reporting.records import Curves, Results, RunInfo, Sink

BATCH_NORM = {
    "batch": "batch norm by the statistics of the batch at hand",
    "support": "batch norm by the statistics of the support set",
    "running": "batch norm by running statistics",
}


class Table(NamedTuple):
    """Rows of text under a header."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class TableFile(Sink):
    """Writes `table.md`."""

    @override
    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._info = info

    @override
    def finish(self, results: Results, curves: Curves | None) -> None:
        text = f"# {self._info.title}\n\n{markdown(results)}\n    {self._info.command}\n"
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
    columns = (f"test {metric}, ensemble of {test['ensemble']}", f"test {metric}, single best")
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

    mark = "*" if results["remarks"] else ""
    row = (
        results["algo"],
        results["dataset"] + mark,
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
    parts = [
        f"Mean and 95 % Student-t interval over {results['test']['episodes']:,} test episodes",
        _count(results["queries"], "query per class", "queries per class"),
        _count(results["inner_steps"], "inner step", "inner steps") + " in training",
        BATCH_NORM.get(results["bn_stats"], "no batch norm"),
        _count(results["iterations"], "iteration", "iterations") + " of training",
        f"seed {results['seed']}",
    ]
    return "; ".join(parts) + "."


def footnotes(results: Results) -> list[str]:
    """The remarks, marked as in the table."""
    return [f"\\* {remark}" for remark in results["remarks"]]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
