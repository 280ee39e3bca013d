"""What the commands that take KEY=VALUE share: their own keys, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from maml_cli import __version__
from maml_cli.commands.machine import machine_error, require_machine
from maml_cli.config.typed_words import readable
from maml_cli.core.errors import UsageError, UserError

INTERRUPTED = 130


def parser(name: str, *, usage: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """The command's parser, of `overrides`, `--help` and `--version`."""
    made = argparse.ArgumentParser(
        prog=name,
        usage=usage,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for maml-train")
    made.add_argument(
        "--module-path",
        action="append",
        default=[],
        metavar="DIR",
        help="find modules of your own in DIR; those that a run names are found there alone",
    )
    made.add_argument("--version", action="version", version=f"{name} {__version__}")
    return made


def split_off(overrides: Sequence[str], own: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The values of the command's own keys, as they were typed, and the other overrides."""
    values: dict[str, str] = {}
    others = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and key in own:
            values[key] = value
        else:
            others.append(override)
    return values, readable(others)


def folders(values: dict[str, str], required: Sequence[str], kind: str = "DIR") -> list[Path]:
    """The folders that these keys name; raises UsageError naming those that are missing.

    `kind` is what a value must be, if not a folder.
    """
    if missing := [key for key in required if not values.get(key)]:
        raise UsageError(*(f"{key}={kind} is missing" for key in missing))
    return [Path(values[key]).expanduser() for key in required]


def exit_code(name: str | None, work: Callable[[], None]) -> int:
    """Do the work; a UserError or Ctrl-C becomes a message and its code (see core/errors.py).

    After a mistake of usage, the help of the command of that name is recommended.
    """
    try:
        require_machine()
        work()
    except (UserError, OSError, MemoryError, RuntimeError, ImportError) as found:
        error = found if isinstance(found, UserError) else machine_error(found)
        if error is None:
            raise
        for message in error.messages:
            print(f"error: {message}", file=sys.stderr)
        if name is not None and isinstance(error, UsageError):
            print(f"{name} --help has examples", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: no file is half-written", file=sys.stderr)
        return INTERRUPTED
    return 0
