"""Validation and test: adapt to each episode's support set, score its queries, sum up."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.records import Curves
from maml_cli.core.results import MILESTONES, Course, Descents, Spread
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
    """After how many inner steps, ascending; all but the last only if the metric is reported so."""
    ensemble: Tensor
    """Of the candidates' averaged outputs."""
    single: Tensor
    """Of the first candidate alone."""
    course_steps: tuple[int, ...]
    """After how many inner steps `course` is."""
    course: Tensor
    """The first candidate alone on the first episodes, `(course episodes, len(course_steps))`."""
    predictive: Tensor
    """What the ensemble says of the queries after the last step (`core/scoring.py`); empty if
    outputs are no predictions."""
    targets: Tensor
    """Of the same queries, `(episodes, queries, ...)`."""
    classes: Tensor
    """The classes of each episode, by their numbers in the split, `(episodes, ways)`."""
    samples: int
    """Predictions of each candidate."""
    seconds: float
    """Spent on the predictions of all candidates."""

    @property
    def not_finite(self) -> int:
        """Episodes in which an output of the ensemble, after the last step, is inf or nan."""
        finite = self.ensemble[:, -1].isfinite()
        if len(self.predictive):  # optimisation problems have none
            finite &= self.predictive.flatten(1).isfinite().all(1)
        return int((~finite).sum())


def evaluate(
    engine: Engine,
    candidates: Sequence[MetaParameters],
    source: TaskSource,
    split: str,
    *,
    episodes: int,
    steps: int,
    bn_stats: BatchNormStats,
    course_episodes: int,
    on_progress: Callable[[int], None],
) -> Scores:
    """Score the candidates on the first `episodes` episodes of a split; changes nothing.

    Each candidate answers the queries once, after the last inner step. On the first
    `course_episodes` episodes, the first candidate also answers them after earlier steps. If the
    metric is reported per step, every candidate does so on all episodes.
    The ensemble's outputs are the mean of the candidates' outputs (logits, for classes), as in the
    official MAML++ code.
    """
    objective = source.objective
    every = Evaluation(steps_to_score(steps, free=not objective.reported.few_shot), bn_stats)
    once = every if objective.reported.per_step else Evaluation((steps,), bn_stats)
    ensemble, single, predictive, true, classes, seconds = [], [], [], [], [], 0.0
    course = []
    on_progress(0)
    for start in range(0, episodes, EPISODES_AT_ONCE):
        count = min(EPISODES_AT_ONCE, episodes - start)
        batch = source.episodes(split, start, count)
        targets = batch.query_y.unsqueeze(1)
        first = every if start < course_episodes else once
        started = time.perf_counter()
        found = [engine.predict(candidates[0], batch, first)]
        found += [engine.predict(c, batch, once) for c in candidates[1:]]
        seconds += time.perf_counter() - started
        if start < course_episodes:
            whole = objective.metric(objective.combine(found[0]), targets)
            course.append(whole[: course_episodes - start].cpu())
        found = [samples[:, -len(once.after) :] for samples in found]
        outputs = torch.stack([objective.combine(samples) for samples in found])
        ensemble.append(objective.metric(outputs.mean(0), targets).cpu())
        single.append(objective.metric(outputs[0], targets).cpu())
        if objective.scoring is not None:
            last = [objective.scoring.predictive(samples[:, -1]) for samples in found]
            predictive.append(torch.stack(last).mean(0).cpu())
        true.append(batch.query_y.cpu())
        classes.append(batch.classes.cpu())
        on_progress(start + count)
    return Scores(
        steps=once.after,
        ensemble=torch.cat(ensemble),
        single=torch.cat(single),
        course_steps=every.after,
        course=torch.cat(course) if course else torch.empty(0, len(every.after)),
        predictive=torch.cat(predictive) if predictive else torch.empty(0),
        targets=torch.cat(true),
        classes=torch.cat(classes),
        samples=found[0].shape[2],
        seconds=seconds,
    )


def steps_to_score(steps: int, *, free: bool = False) -> tuple[int, ...]:
    """Those of the numbers 0 to `steps` after which a task is scored, `steps` among them.

    Scoring can cost more than a step, so after step 10 only some steps are scored. Where it is free
    of cost, every step is, or of more than 200 steps some 200.
    """
    if free:
        every = range(0, steps, -(-steps // 200) or 1)
        return tuple(sorted({*every, *(n for n in MILESTONES if n < steps), steps}))
    return (*(n for n in (*range(11), 20, 50, 100, 200, 500) if n < steps), steps)


def estimates(steps: Sequence[int], scores: Tensor) -> dict[int, Estimate]:
    """The mean over episodes after each number of inner steps, from `(episodes, len(steps))`."""
    return {n: estimate(column) for n, column in zip(steps, scores.unbind(1), strict=True)}


def milestones(scores: Scores) -> dict[int, Tensor]:
    """The losses of every problem at the start, after the steps that tables tell of, and last."""
    told = {0, *MILESTONES, scores.steps[-1]}
    columns = zip(scores.steps, scores.single.unbind(1), strict=True)
    return {step: losses for step, losses in columns if step in told}


def descents(scores: Scores, candidates: int) -> Descents:
    """How the losses of single problems lie, and the time that a step takes."""
    first = scores.single[:, 0]
    spread = {}
    for step, losses in zip(scores.steps, scores.single.unbind(1), strict=True):
        lost = ~losses.isfinite() | (losses > first)
        at = torch.where(losses.isfinite(), losses, torch.inf)
        low, median, high = at.quantile(at.new_tensor([0.25, 0.5, 0.75]), interpolation="lower")
        spread[step] = Spread(median.item(), low.item(), high.item(), int(lost.sum()))
    steps = max(scores.steps[-1], 1) * len(first) * candidates
    return Descents(spread=spread, seconds_per_step=scores.seconds / steps)


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

    ends = bands(samples[:, -1], variance)

    def array(column: Tensor) -> NDArray[np.float32]:
        numbers: NDArray[np.float32] = column.squeeze(-1).cpu().numpy()
        return numbers

    return Curves(
        x=array(episodes.query_x),
        truth=array(episodes.query_y),
        predictions=array(outputs.transpose(0, 1)),
        samples=array(samples[:, -1].transpose(0, 1)),
        support_x=array(episodes.support_x),
        support_y=array(episodes.support_y),
        bands=None if ends is None else ends[..., 0],
        axes=getattr(source, "axes", ("x", "y")),
    )


def bands(samples: Tensor, variance: float) -> NDArray[np.float64] | None:
    """The ends of the central 90 and 50 % bands, `(4, episodes, points, outputs)`, ascending.

    `samples` are `(episodes, samples, points, outputs)`, `variance` is of the normal noise around
    each. None without a variance, or if a sample is not finite.
    """
    if not (variance > 0 and samples.isfinite().all()):
        return None
    mixture = samples.cpu().double()
    ends = [mixture_quantile(mixture, variance, p) for p in BAND_ENDS]
    found: NDArray[np.float64] = torch.stack(ends).numpy()
    return found
