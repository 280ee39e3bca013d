"""Tables for a terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

GAP = 2
"""Characters between columns."""


@dataclass(frozen=True)
class TerminalTable:
    """Rows of text under a header, whose columns fit the window.

    rich by itself makes all columns of a wide table equally wide and breaks words. Here a word is
    broken only if the longest words of all columns do not fit side by side.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(zip(self.header, *self.rows, strict=True))
        edges = GAP * len(columns) + 1
        widths = column_widths([list(map(str, c)) for c in columns], options.max_width - edges)
        table = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, GAP - 1, 0, 0),  # the box adds a blank
            title=Text(self.title) if self.title else None,
            title_justify="left",
        )
        for name, width in zip(self.header, widths, strict=True):
            table.add_column(Text(name), width=width, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
        yield table


def column_widths(columns: Sequence[Sequence[str]], room: int) -> Sequence[int | None]:
    """The width of each column in characters, at most `room` together.

    Each has room for its longest word, and its share of what is left, by what its longest line
    wants. All are None if the words do not fit.
    """
    lines = [_longest(cell.splitlines() for cell in column) for column in columns]
    words = [_longest(cell.split() for cell in column) for column in columns]
    wanted = sum(lines) - sum(words)
    left = min(room - sum(words), wanted)
    if left < 0:
        return [None] * len(columns)
    return [w + left * (n - w) // max(wanted, 1) for w, n in zip(words, lines, strict=True)]


def _longest(parts: Iterable[list[str]]) -> int:
    return max((cell_len(part) for each in parts for part in each), default=0)
