"""Tables for a terminal break words only where there is no other way."""

import io
from itertools import pairwise

import pytest
from rich.console import Console

from maml_cli.reporting.terminal_table import TerminalTable, column_widths

LEARNERS = TerminalTable(
    ("approach", "accuracy"),
    [("Prototypical Nets", "92.99 ± 0.67 %"), ("[bold] 距離", "8 %")],
    "Omniglot",
)


def shown(table: TerminalTable, width: int) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    return [line.strip() for line in text.getvalue().splitlines() if line.strip()]


def test_a_wide_window_has_a_line_for_each_row():
    title, header, _, *rows = shown(LEARNERS, 60)
    assert (title, header.split()) == ("Omniglot", ["approach", "accuracy"])
    assert rows == ["Prototypical Nets  92.99 ± 0.67 %", "[bold] 距離        8 %"]


@pytest.mark.parametrize("width", range(26, 36))
def test_a_narrow_window_breaks_no_word(width):
    words = " ".join(shown(LEARNERS, width)).split()
    for word in ("approach", "accuracy", "Prototypical", "Nets", "92.99", "距離"):
        assert word in words


def test_no_line_is_longer_than_the_window():
    for width in range(5, 60):
        assert all(len(line) <= width for line in shown(LEARNERS, width))


def test_widths_by_hand():
    columns = [["ab cdef", "a b"], ["xyz xy xyz"]]
    # words want 4 and 3 characters, lines 7 and 10: the 10 that are wanted besides are 3 and 7
    assert column_widths(columns, 17) == [7, 10]
    assert column_widths(columns, 100) == [7, 10]
    assert column_widths(columns, 12) == [4 + 5 * 3 // 10, 3 + 5 * 7 // 10]
    assert column_widths(columns, 7) == [4, 3]
    assert column_widths(columns, 6) == [None, None]


def test_more_room_never_makes_a_column_narrower():
    columns = [["ab cdef", "a b"], ["xyz xy xyz"], ["one"]]
    for narrow, wide in pairwise(column_widths(columns, room) for room in range(10, 30)):
        assert all(a <= b for a, b in zip(narrow, wide, strict=True))
