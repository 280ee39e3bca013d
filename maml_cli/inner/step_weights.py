"""How much the query loss after each inner step counts: the last alone, or all (MAML++, "MSL")."""

from collections.abc import Callable

from maml_cli.core.types import Progress

StepWeights = Callable[[Progress], list[float]]
"""Gives one weight per inner step; a zero means that the query pass need not be computed."""


def last_step(steps: int) -> StepWeights:
    """Only the loss after the last of `steps` updates counts (MAML, algorithm 1)."""
    return lambda _: [0.0] * (steps - 1) + [1.0]


def multi_step(steps: int, epochs: int) -> StepWeights:
    """All steps count alike at first and the last one alone after `epochs` epochs (MAML++, "MSL").

    At epoch e, with S steps and E epochs: `w_i = max(1/S - e/(S E), 0.03/S)` for i < S and
    `w_S = min(1/S + e (S-1)/(S E), 1 - 0.03 (S-1)/S)`; they sum to 1. From e = E on, `w_S = 1`.
    Source: Antoniou et al. 2019, equation 2; the constants are the official code's.
    """

    def weights(progress: Progress) -> list[float]:
        if progress.epoch >= epochs:
            return last_step(steps)(progress)
        floor = 0.03 / steps
        early = max(1 / steps - progress.epoch / (steps * epochs), floor)
        return [early] * (steps - 1) + [1 - early * (steps - 1)]

    return weights
