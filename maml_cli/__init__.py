"""maml-train: the experiment runner for few-shot meta-learning.

In Python, `train` and `load` do what the commands do.
"""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maml_cli.runs.model import Model

__version__ = "0.1.0"


def train(arguments: Sequence[str]) -> dict[str, Any]:
    """Train as `maml-train ARGUMENTS` does, in a process of its own.

    Returns what the run's `results.json` holds, and the run's folder as `folder`. Raises UserError
    with what the command said if there is no result.
    """
    from maml_cli.commands.python import train

    return train(arguments)


def load(run: str | PathLike[str], *overrides: str) -> "Model":
    """The networks of a trained run, to adapt to tasks.

    `overrides` are settings as `maml-adapt` takes them, such as "eval.inner_steps=10". Raises
    UsageError or CheckpointError.
    """
    from maml_cli.commands.python import load

    return load(run, *overrides)
