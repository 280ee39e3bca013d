"""Many things may be wrong with many files."""

from maml_cli.core.errors import DataError

SHOWN = 10


def refuse(problems: list[str], advice: str) -> None:
    """Raise DataError if there are problems: the first few, how many more, and the way out."""
    if problems:
        raise DataError(*refusal(problems, advice))


def refusal(problems: list[str], advice: str) -> list[str]:
    """The first few problems, how many more there are, and the way out."""
    more = len(problems) - SHOWN
    return [*problems[:SHOWN], *([f"... and {more} more"] if more > 0 else []), advice]
