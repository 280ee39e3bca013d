"""Text of other people, such that it can neither act nor pass for ours where it is shown."""

import re
import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control and formatting characters, lone surrogates, line and paragraph
separators: a terminal obeys some of them, others turn the direction of what follows."""
_COMPUTED = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins with one of them for a formula."""
_MARKUP = re.compile(r"[|<]|(?<=\])\(")


def printable(text: str) -> str:
    r"""One line, in which control characters are shown as `\x1b` or `\u202e`."""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in _HIDDEN else c for c in text)


def markdown_cell(text: str) -> str:
    """The text as a cell, or a line, of Markdown: no new cell, no new line, no HTML, no link."""
    return _MARKUP.sub(lambda found: f"\\{found[0]}", printable(text))


def csv_cell(value: object) -> object:
    """The value for a CSV file; text that a spreadsheet would compute gets an apostrophe before."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_COMPUTED) else text
