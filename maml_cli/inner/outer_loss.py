"""How much the query loss after each inner step counts: the last alone, or all (MAML++, "MSL")."""

from dataclasses import dataclass

from maml_cli.core.algorithm import Phase
from maml_cli.core.types import Progress


@dataclass(frozen=True, kw_only=True)
class InnerLoopPhase(Phase):
    """What progress changes in an inner loop."""

    order: int
    """1: inner gradients count as constants; 2: they are differentiated."""
    step_weights: tuple[float, ...]
    """The weight of the query loss after each inner step; after a 0 the queries are not scored."""
    bn_stats: str
    """What normalises the queries: `batch`, `support` or `running`."""


def last_step(steps: int) -> tuple[float, ...]:
    """Only the loss after the last of `steps` updates counts (MAML, algorithm 1)."""
    return (0.0,) * (steps - 1) + (1.0,)


def multi_step(steps: int, epochs: int, progress: Progress) -> tuple[float, ...]:
    """All steps have equal weights at first, and the last one alone counts after `epochs` epochs.

    At epoch e, with S steps and E epochs: `w_i = max(1/S - e/(S E), 0.03/S)` for i < S and
    `w_S = min(1/S + e (S-1)/(S E), 1 - 0.03 (S-1)/S)`; they sum to 1. From e = E on, `w_S = 1`.
    Source: Antoniou et al. 2019, equation 2; the constants are the official code's.
    """
    if progress.epoch >= epochs:
        return last_step(steps)
    floor = 0.03 / steps
    early = max(1 / steps - progress.epoch / (steps * epochs), floor)
    return (early,) * (steps - 1) + (1 - early * (steps - 1),)
