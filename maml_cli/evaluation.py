"""Validation and test: adapt to every episode's support set, score its queries after each step."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maml_cli.core.learner import Learner, MetaParameters
from maml_cli.core.settings import BatchNormStats
from maml_cli.core.types import TaskSource

EPISODES_AT_ONCE = 20


class Scores(NamedTuple):
    """The metric of every episode after 0, 1, ... inner steps, each `(episodes, steps + 1)`."""

    ensemble: Tensor
    """Of the candidates' averaged outputs."""
    single: Tensor
    """Of the first candidate alone."""


def evaluate(
    learner: Learner,
    candidates: Sequence[MetaParameters],
    source: TaskSource,
    split: str,
    *,
    episodes: int,
    steps: int,
    bn_stats: BatchNormStats,
    on_progress: Callable[[int], None],
) -> Scores:
    """Score the candidates on the first `episodes` episodes of a split; changes nothing.

    The ensemble's outputs are the mean of the candidates' outputs (logits, for classes), as in the
    official MAML++ code.
    """
    metric = source.objective.metric
    ensemble, single = [], []
    on_progress(0)
    for start in range(0, episodes, EPISODES_AT_ONCE):
        count = min(EPISODES_AT_ONCE, episodes - start)
        batch = source.episodes(split, start, count)
        targets = batch.query_y.unsqueeze(1)
        outputs = torch.stack([learner.predict(c, batch, steps, bn_stats) for c in candidates])
        ensemble.append(metric(outputs.mean(0), targets).cpu())
        single.append(metric(outputs[0], targets).cpu())
        on_progress(start + count)
    return Scores(torch.cat(ensemble), torch.cat(single))
