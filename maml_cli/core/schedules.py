"""Schedules as pure functions of progress: nothing is counted, so a resumed run cannot drift."""

import math
from collections.abc import Callable

from maml_cli.core.settings import TrainSettings
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


def halved(start: float, every: int) -> Schedule:
    """Half as much after each `every` iterations: `start / 2^floor(iteration / every)`.

    Source: Snell, Swersky & Zemel 2017, section 3; Sung et al. 2018.
    """
    return lambda progress: start * 0.5 ** (progress.iteration // every)


def outer_rate(train: TrainSettings) -> Schedule:
    """The outer learning rate of an algorithm that does not anneal it: constant, or halved."""
    every = train.halve_every
    return constant(train.outer_lr) if every is None else halved(train.outer_lr, every)


def linear(start: float, end: float) -> Schedule:
    """Straight from `start` to `end`, per iteration: `start + (end - start) * i / iterations`."""
    return lambda progress: start + (end - start) * progress.iteration / progress.iterations
