"""Meta-gradients that are no numbers: noticed before the update, without waiting for a GPU."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.utils._pytree import tree_map

from maml_cli.core.algorithm import MetaStep, Sections, flat
from maml_cli.core.errors import DivergedError
from maml_cli.training.state import Outcome


def is_finite(step: MetaStep) -> Tensor:
    """Whether the outer loss and all of the meta-gradient are finite: a boolean on the device."""
    largest = get_total_norm([step.loss, *flat(step.gradient).values()], norm_type=math.inf)
    return torch.isfinite(largest)


def where_finite(finite: Tensor, step: MetaStep, state: Sections) -> MetaStep:
    """The step, or where it is not finite one with a gradient of zero and the state of before."""
    return replace(
        step,
        gradient=tree_map(lambda g: torch.where(finite, g, 0), step.gradient),
        state=tree_map(lambda new, old: torch.where(finite, new, old), step.state, state),
    )


def diverged(
    outcome: Outcome, iteration: int, episodes: range, inner_rates: Mapping[str, Sequence[float]]
) -> DivergedError:
    """The error that names iteration (from 1), episodes, inner step and learned inner rates."""
    losses = outcome.query_loss.tolist()
    steps = [
        step
        for step, loss in zip(outcome.query_steps, losses, strict=True)
        if not math.isfinite(loss)
    ]
    loss = outcome.loss.item()
    what = "the meta-gradient is not finite" if math.isfinite(loss) else f"the loss is {loss}"
    where = f", first after inner step {steps[0]}" if steps else ""
    flat = [rate for rates in inner_rates.values() for rate in rates]
    learned = f" Inner rates learned so far: {min(flat):.3g} to {max(flat):.3g}." if flat else ""
    inner = " or algo.inner_lr" if max(outcome.query_steps, default=0) > 0 else ""
    which = f"training episodes {episodes[0]} to {episodes[-1]}"
    return DivergedError(
        f"{what} at iteration {iteration} ({which}){where}"
        f".{learned} Lower train.outer_lr{inner}, set train.grad_clip or "
        "train.grad_clip_norm, or pass over such iterations with train.on_nonfinite=skip. No "
        "update was made from it."
    )
