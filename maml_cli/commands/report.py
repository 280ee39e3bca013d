"""The entry point of `maml-report`: many runs in one report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maml_cli import __version__
from maml_cli.commands.shared import exit_code
from maml_cli.commands.streams import Lost, lasting
from maml_cli.core.errors import DataError, StorageError, UsageError

if TYPE_CHECKING:
    from maml_cli.report.collect import Damaged, Run

SUFFIXES = {
    ".md": "markdown",
    ".tex": "latex",
    ".csv": "csv",
    ".json": "json",
    ".html": "html",
}
DESCRIPTION = """\
Collect runs of maml-train into the papers' tables: a row per approach, the mean over seeds with its
interval (over seeds if there are several, else over test episodes; it says which), the published
numbers beside it, what was done with how many iterations, and comparisons on the same episodes.
Only runs that differ in nothing but the seed are pooled; unfinished ones are listed, not counted.
"""
EXAMPLES = """\
examples:
  maml-report                                      the runs in outputs/, in the terminal
  maml-report outputs/sweeps/NAME -o report.html   one page with charts, for any browser
  maml-report outputs docs/results -o table.tex    for a paper: LaTeX with booktabs
  maml-report --compare DIR DIR                    two runs on the same test episodes
  maml-report --calibration outputs                with the scores of probabilities
  maml-report --papers outputs docs/results        each published number with ours beside it

Exit codes: 0 done, 2 usage (also: no finished run found), 3 damaged results, 6 storage.
"""


@lasting()
def main(argv: Sequence[str] | None = None) -> int:
    """Run `maml-report` with these arguments; returns the exit code (see core/errors.py)."""
    arguments = _parser().parse_args(argv)
    Lost.full = False
    return exit_code(None, lambda: _main(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maml-report",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "places",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="folders with runs or sweeps, or results files (default: outputs)",
    )
    parser.add_argument(
        "-f",
        "--format",
        choices=["terminal", *SUFFIXES.values()],
        help="default: by the suffix of FILE, else terminal",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: standard output"
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("RUN", "OTHER"),
        help="test the difference of two runs over the episodes that both met",
    )
    parser.add_argument(
        "--calibration",
        action="store_true",
        help="add the scores of probabilities: likelihood, Brier score, calibration, bands",
    )
    parser.add_argument(
        "--papers",
        action="store_true",
        help="the papers' tables instead: ours beside each number, or why there is none",
    )
    parser.add_argument("--version", action="version", version=f"maml-report {__version__}")
    return parser


def _main(arguments: argparse.Namespace) -> None:
    output, form = arguments.output, arguments.format
    if form is None and output is not None and output.suffix not in SUFFIXES:
        raise UsageError(
            f"--output {output}: its suffix says no format: use {', '.join(SUFFIXES)}, or --format"
        )
    form = form or (SUFFIXES[output.suffix] if output else "terminal")
    if form == "terminal" and output:
        raise UsageError("--format terminal writes no file: use --format markdown for plain text")
    if arguments.papers and form in ("csv", "json"):
        raise UsageError(
            f"--papers writes tables to read: use html, markdown or latex instead of {form}"
        )

    from maml_cli.report import formats
    from maml_cli.report.analysis import analyse, pair
    from maml_cli.report.collect import collect
    from maml_cli.storage.files import write_atomically
    from maml_cli.storage.run_folder import RESULTS

    compared = arguments.compare or []
    found = collect(arguments.places or compared or [Path("outputs")])
    report = analyse(found)._replace(calibration=arguments.calibration, papers=arguments.papers)
    if compared:
        report = pair(report, *(_one(place) for place in compared))
    damaged = report.damaged
    if not report.groups:
        if damaged:
            raise DataError(*(found.message for found in damaged))
        raise UsageError(
            f"no finished run among {len(report.unfinished)} that were begun: name the folders "
            f"that hold {RESULTS} files"
        )
    if form == "terminal":
        formats.write_terminal(report)
    else:
        if form == "html":
            from maml_cli.report.page import page

            text, damaged = page(report)
        else:
            text = formats.TEXTS[form](report)
        if output:
            write_atomically(output, text)
            print(output, file=sys.stderr)
        else:
            print(text, end="")
    _end(damaged)


def _end(damaged: Sequence[Damaged]) -> None:
    """Raise StorageError if the report was not printed, DataError if files were left out."""
    sys.stdout.flush()
    if Lost.full:
        raise StorageError("standard output cannot be written (no space left): use -o FILE")
    if damaged:
        raise DataError(*(f"left out: {found.message}" for found in damaged))


def _one(place: Path) -> Run:
    """The one run in a folder."""
    from maml_cli.report.collect import collect

    runs = collect([place]).runs
    if len(runs) != 1:
        raise UsageError(f"--compare {place}: holds {len(runs)} finished runs, it takes one each")
    return runs[0]
