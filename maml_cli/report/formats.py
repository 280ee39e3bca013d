"""The report as text: for a terminal, Markdown, LaTeX, CSV and JSON."""

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.text import Text
from tabulate import tabulate

from maml_cli.core.json_text import to_json
from maml_cli.core.plain_text import csv_cell, markdown_cell, printable
from maml_cli.report.analysis import Report
from maml_cli.report.document import sections
from maml_cli.report.flat import rows
from maml_cli.report.section import Section
from maml_cli.reporting.terminal_table import TerminalTable

COMMANDS = str.maketrans(
    {
        "±": r"$\pm$",
        "×": r"$\times$",
        "−": r"$-$",
        "–": "--",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "≈": r"$\approx$",
        "↕": r"$\updownarrow$",
    }
)
"""The signs of the tables in LaTeX."""


def terminal(report: Report) -> Group:
    """The tables for rich; without the register, whose commands are too long for most windows."""
    shown: list[TerminalTable | Text] = []
    for section in sections(report):
        if section.kind == "register":
            continue
        table = TerminalTable(section.header, section.rows, section.title)
        shown += [table, *(Text(note, style="dim") for note in section.notes), Text()]
    return Group(*shown)


def markdown(report: Report) -> str:
    """A heading, a table and notes for each section."""
    return "\n".join(
        "\n".join([f"## {section.title}", "", _table(section, "github"), "", *_listed(section)])
        for section in map(_as_markdown, sections(report))
    )


def latex(report: Report) -> str:
    """Tables for a paper that uses the package booktabs; without remarks and register."""
    blocks = []
    for section in sections(report):
        if section.kind != "table":
            continue
        notes = " ".join(_escaped(note) for note in section.notes)
        table = _table(section, "latex_booktabs").translate(COMMANDS)
        blocks.append(
            "\\begin{table}\n\\centering\n"
            f"{table}\n\\caption{{{_escaped(section.title)}. {notes}}}\n\\end{{table}}\n"
        )
    return "\n".join(blocks)


def comma_separated(report: Report) -> str:
    """One line per group of runs, numbers as they are."""
    table = rows(report)
    columns = list(dict.fromkeys(column for row in table for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in table)
    return text.getvalue()


def json_text(report: Report) -> str:
    """The same lines, the comparisons, and what was not counted."""
    content = {
        "groups": rows(report),
        "comparisons": [
            {
                **comparison._asdict(),
                "metric": comparison.metric.name,
                **comparison.paired._asdict(),
            }
            for comparison in report.comparisons
        ],
        "not_counted": [
            *({"run": str(run.folder), "why": run.state} for run in report.unfinished),
            *({"run": str(run.file), "why": "repeated seed"} for run in report.repeated),
            *({"run": str(found.file), "why": found.reason} for found in report.damaged),
        ],
    }
    return to_json(_printable(content), indent=2) + "\n"


def _printable(value: Any) -> Any:
    """The value with the control characters in its texts shown: a terminal may be the reader."""
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value


TEXTS: Mapping[str, Callable[[Report], str]] = {
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
    "json": json_text,
}
"""The formats that are plain text, by name."""


def write_terminal(report: Report) -> None:
    """Print the tables."""
    Console(highlight=False).print(terminal(report))


def _table(section: Section, form: str) -> str:
    return str(tabulate(section.rows, section.header, tablefmt=form, disable_numparse=True))


def _as_markdown(section: Section) -> Section:
    """The section with what Markdown would obey in other people's texts escaped."""
    return section._replace(
        title=markdown_cell(section.title),
        header=tuple(map(markdown_cell, section.header)),
        rows=[tuple(map(markdown_cell, row)) for row in section.rows],
        notes=[markdown_cell(note) for note in section.notes],
    )


def _listed(section: Section) -> list[str]:
    return [line for note in section.notes for line in (note, "")]


def _escaped(text: str) -> str:
    """Text as tabulate escapes that of its LaTeX tables."""
    row = str(tabulate([[text]], tablefmt="latex", disable_numparse=True)).splitlines()[2]
    return row.removesuffix(r"\\").strip().translate(COMMANDS)
