"""Validation and test: adapt to each episode's support set, score its queries, sum up."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.records import Curves
from maml_cli.core.results import Course
from maml_cli.core.scoring import mixture_quantile
from maml_cli.core.settings import BatchNormStats
from maml_cli.core.stats import Estimate, estimate
from maml_cli.core.types import Evaluation, TaskSource
from maml_cli.engines.engine import Engine

EPISODES_AT_ONCE = 20
CURVES_DRAWN = 4
BAND_ENDS = (0.05, 0.25, 0.75, 0.95)


class Scores(NamedTuple):
    """The metric of every episode after some inner steps, `(episodes, len(steps))`."""

    steps: tuple[int, ...]
    """After how many inner steps, ascending."""
    ensemble: Tensor
    """Of the candidates' averaged outputs."""
    single: Tensor
    """Of the first candidate alone."""
    predictive: Tensor
    """What the ensemble says of the queries after the last step (`core/scoring.py`)."""
    targets: Tensor
    """Of the same queries, `(episodes, queries, ...)`."""
    samples: int
    """Predictions of each candidate."""


def evaluate(
    engine: Engine,
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
    objective, evaluation = source.objective, Evaluation(steps_to_score(steps), bn_stats)
    ensemble, single, predictive, true = [], [], [], []
    on_progress(0)
    for start in range(0, episodes, EPISODES_AT_ONCE):
        count = min(EPISODES_AT_ONCE, episodes - start)
        batch = source.episodes(split, start, count)
        targets = batch.query_y.unsqueeze(1)
        found = [engine.predict(c, batch, evaluation) for c in candidates]
        outputs = torch.stack([objective.combine(samples) for samples in found])
        last = [objective.scoring.predictive(samples[:, -1]) for samples in found]
        ensemble.append(objective.metric(outputs.mean(0), targets).cpu())
        single.append(objective.metric(outputs[0], targets).cpu())
        predictive.append(torch.stack(last).mean(0).cpu())
        true.append(batch.query_y.cpu())
        on_progress(start + count)
    return Scores(
        steps=evaluation.after,
        ensemble=torch.cat(ensemble),
        single=torch.cat(single),
        predictive=torch.cat(predictive),
        targets=torch.cat(true),
        samples=found[0].shape[2],
    )


def steps_to_score(steps: int) -> tuple[int, ...]:
    """Those of the numbers 0 to `steps` after which queries are scored, `steps` among them.

    Scoring can cost more than a step, so after step 10 only some steps are scored.
    """
    return (*(n for n in (*range(11), 20, 50, 100, 200, 500) if n < steps), steps)


def estimates(steps: Sequence[int], scores: Tensor) -> dict[int, Estimate]:
    """The mean over episodes after each number of inner steps, from `(episodes, len(steps))`."""
    return {n: estimate(column) for n, column in zip(steps, scores.unbind(1), strict=True)}


def course(steps: Sequence[int], scores: Tensor) -> Course:
    """The same as part of the results."""
    return Course(estimates=estimates(steps, scores))


def fitted_curves(
    engine: Engine,
    params: MetaParameters,
    source: TaskSource,
    *,
    steps: int,
    bn_stats: BatchNormStats,
    variance: float,
) -> Curves | None:
    """Truth and fits of some test tasks on a grid, to draw; None if inputs are no numbers.

    `variance` is the noise's, for bands.
    """
    episodes = source.curve_episodes(CURVES_DRAWN)
    if episodes is None:
        return None
    evaluation = Evaluation(tuple(range(steps + 1)), bn_stats)
    samples = engine.predict(params, episodes, evaluation)
    outputs = source.objective.combine(samples)

    def array(column: Tensor) -> NDArray[np.float32]:
        numbers: NDArray[np.float32] = column.squeeze(-1).cpu().numpy()
        return numbers

    return Curves(
        x=array(episodes.query_x[0]),
        truth=array(episodes.query_y),
        predictions=array(outputs.transpose(0, 1)),
        samples=array(samples[:, -1].transpose(0, 1)),
        support_x=array(episodes.support_x),
        support_y=array(episodes.support_y),
        bands=_bands(samples[:, -1], variance),
    )


def _bands(samples: Tensor, variance: float) -> NDArray[np.float64] | None:
    """The ends of the central 90 and 50 % bands, `(4, episodes, points)`, ascending."""
    if not (variance > 0 and samples.isfinite().all()):
        return None
    mixture = samples.cpu().double()
    ends = [mixture_quantile(mixture, variance, p).squeeze(-1) for p in BAND_ENDS]
    bands: NDArray[np.float64] = torch.stack(ends).numpy()
    return bands
