"""A CSV file as a table of text: its delimiter, its header, and its rows by line."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from maml_cli.core.errors import DataError
from maml_cli.core.limits import TABLE_BYTES
from maml_cli.core.regular_files import read_regular

DELIMITERS = ",;\t"
SAMPLE = 20
"""Lines by which the delimiter is found."""

Faults = list[tuple[int, str]]
"""What is wrong with a file: a line, and what is wrong there."""


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """The cells of a CSV file whose first line names the columns; spaces around them are gone."""

    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    """As many cells each as the header has."""
    lines: Sequence[int]
    """The line of the file in which each row ends."""

    def texts(self, column: str) -> list[str]:
        """The cells of a column."""
        place = self.header.index(column)
        return [row[place] for row in self.rows]

    def numbers(self, column: str, faults: Faults) -> list[float]:
        """The same as numbers; adds a fault for each cell that is not a finite one."""
        found = []
        for line, text in zip(self.lines, self.texts(column), strict=True):
            try:
                value = float(text)
            except ValueError:
                value = math.nan
                faults.append((line, f"{column} is {_not_a_number(text)}"))
            else:
                if not math.isfinite(value):
                    faults.append((line, f"{column} is {text}; it must be finite"))
            found.append(value)
        return found


def read_table(key: str, path: Path, faults: Faults) -> CsvTable:
    """The table in a file; adds a fault for each row that has too many cells, or too few.

    The delimiter is a comma, a semicolon or a tab: the one by which most of the first lines have as
    many cells as the header. Raises DataError, which names the `key` that named the file.
    """
    where = f"{key}={path}"
    try:
        text = read_regular(path, TABLE_BYTES, follow=True).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: is not UTF-8 ({error}): save it as CSV in UTF-8") from None
    except OSError as error:
        raise DataError(f"{where}: {error.strerror}: name a CSV file") from None
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_delimiter(text), skipinitialspace=True
    )
    rows, numbers = [], []
    try:
        found = (tuple(map(str.strip, row)) for row in reader)
        header = next(filter(any, found), ())
        first = reader.line_num
        for row in reader:
            if not any(map(str.strip, row)):
                continue
            if len(row) == len(header):
                rows.append([cell.strip() for cell in row])
                numbers.append(reader.line_num)
            else:
                said = f"has {len(row)} cells; line {first} names {len(header)}"
                faults.append((reader.line_num, said))
    except csv.Error as error:
        raise DataError(f"{where}: line {reader.line_num}: {error}") from None
    _require_names(where, header)
    return CsvTable(header=header, rows=rows, lines=numbers)


def _delimiter(text: str) -> str:
    lines = list(islice((line for line in io.StringIO(text) if line.strip()), SAMPLE))

    def fit(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        try:
            header, *rows = [len(row) for row in reader] or [0]
        except csv.Error:  # it is told with its line when the whole text is read
            return -1, 0
        return (rows.count(header) if header > 1 else -1), header

    return max(DELIMITERS, key=fit)


def _require_names(where: str, header: Sequence[str]) -> None:
    wrong = [f"column {place} has no name" for place, name in enumerate(header, 1) if not name]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    wrong += [f"{header.count(name)} columns are called {name}" for name in twice]
    if not header:
        wrong = ["is empty"]
    elif not wrong and all(map(_is_number, header)):
        wrong = ["line 1 has numbers"]
    if wrong:
        raise DataError(f"{where}: {'; '.join(wrong)}: the first line must name each column once")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _not_a_number(text: str) -> str:
    if not text:
        return "empty"
    hint = "; write a point, not a comma" if _is_number(text.replace(",", ".")) else ""
    return f"'{text[:40]}', which is not a number{hint}"
