"""What reading data says while it lasts, on stderr."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def say(text: str) -> None:
    """One plain line."""
    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def tracked(items: Iterable[T], what: str, total: int) -> Iterable[T]:
    """The same items, with a bar on a terminal, else one line that says what is being done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        say(f"{what} ({total}) ...")
    return track(
        items, what, total, console=console, transient=True, disable=not console.is_terminal
    )
