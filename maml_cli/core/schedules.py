"""Schedules as pure functions of progress: nothing is counted, so a resumed run cannot drift."""

import math
from collections.abc import Callable

from maml_cli.core.types import Progress

Schedule = Callable[[Progress], float]


def constant(value: float) -> Schedule:
    """The same value throughout."""
    return lambda _: value


def cosine(start: float, end: float) -> Schedule:
    """Cosine annealing per epoch: `end + (start - end) * (1 + cos(pi * epoch / epochs)) / 2`.

    Source: Loshchilov & Hutter 2017; MAML++ (Antoniou et al. 2019), "CA".
    """
    return lambda progress: (
        end + (start - end) * (1 + math.cos(math.pi * progress.epoch / progress.epochs)) / 2
    )


def linear(start: float, end: float) -> Schedule:
    """Straight from `start` to `end`, per iteration: `start + (end - start) * i / iterations`."""
    return lambda progress: start + (end - start) * progress.iteration / progress.iterations
