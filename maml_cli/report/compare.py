"""Pairwise comparisons on the same episodes."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.stats import estimate
from maml_cli.report.collect import Run
from maml_cli.report.group import Group
from maml_cli.storage.run_folder import RunFolder


class Paired(NamedTuple):
    """The mean of n paired differences, its 95 % Student-t interval and two-sided p-value."""

    difference: float
    ci95: float
    p_value: float
    n: int
    over: Literal["seeds", "episodes"]


def paired(
    ours: Sequence[float], theirs: Sequence[float], over: Literal["seeds", "episodes"]
) -> Paired:
    """The paired Student-t test of `ours - theirs` (dof n-1), value by value; n >= 2."""
    differences = np.subtract(ours, theirs)
    mean, ci95, n = estimate(differences)
    if np.ptp(differences) == 0:  # the statistic is 0/0 or infinite
        return Paired(mean, 0.0, 1.0 if mean == 0 else 0.0, n, over)
    return Paired(mean, ci95, float(stats.ttest_1samp(differences, 0.0).pvalue), n, over)


def comparable(group: Group, other: Group) -> bool:
    """Whether both met the same test episodes, with a seed at least, after equal budgets.

    Equal, too, must be the fixed training tasks, if there are any, and the size of the ensembles.

    Optimisers of problems learn in ways of their own, or are tuned, so budgets differ by nature.
    """
    return (
        bool({*group.seeds} & {*other.seeds})
        and _task(group.runs[0]) == _task(other.runs[0])
        and (not group.metric.few_shot or _budget(group.runs[0]) == _budget(other.runs[0]))
    )


def compare_groups(group: Group, other: Group) -> Paired | None:
    """The difference of two comparable groups, over the seeds of both if there are several.

    None for a single one if a run did not keep the scores of its episodes.
    """
    both = {*group.seeds} & {*other.seeds}
    runs, counterparts = (
        [r for r in g.runs if r.results.protocol.seed in both] for g in (group, other)
    )
    if len(both) > 1:
        return paired([_end(r) for r in runs], [_end(r) for r in counterparts], over="seeds")
    ours, theirs = runs[0].scores, counterparts[0].scores
    return paired(ours, theirs, over="episodes") if ours and theirs else None


def compare_runs(run: Run, other: Run) -> Paired:
    """The difference over the episodes that both met; raises UsageError and DataError."""
    ours, theirs = ({**_episodes(r), "seed": r.results.protocol.seed} for r in (run, other))
    if problems := [
        f"{key}: {ours[key]} against {theirs[key]}" for key in ours if ours[key] != theirs[key]
    ]:
        raise UsageError(
            f"{run.file} and {other.file} met different episodes and cannot be compared pairwise",
            *problems,
        )
    if _task(run) != _task(other):
        raise UsageError(f"{run.file} and {other.file} differ in their data set or its episodes")
    scores = {r.file: r.scores for r in (run, other)}
    if missing := [file for file, values in scores.items() if not values]:
        name = RunFolder(run.folder).scores.name
        raise DataError(*(f"{file}: no {name} beside it: repeat the test" for file in missing))
    return paired(scores[run.file], scores[other.file], over="episodes")


def _episodes(run: Run) -> dict[str, object]:
    """The entries of the results that decide which episodes are met, by name; beside the seed."""
    protocol = run.results.protocol
    return {
        "dataset": protocol.dataset,
        "split": run.results.test.split,
        "ways": protocol.ways,
        "shots": protocol.shots,
        "queries": protocol.queries,
        "metric": protocol.metric.name,
        "remarks": list(protocol.remarks),
    }


def _task(run: Run) -> object:
    """Equal for runs whose test episodes of a seed are the same."""
    dataset = {k: v for k, v in run.settings.items() if k.startswith("dataset.")}
    return _episodes(run), run.results.test.episodes, dataset


def _budget(run: Run) -> tuple[object, ...]:
    """What an algorithm had for its number: of training tasks, and of epochs that answer."""
    results, protocol = run.results, run.results.protocol
    ensemble = results.test.ensemble_size
    return results.iterations, protocol.tasks_per_batch, protocol.task_pool, ensemble


def _end(run: Run) -> float:
    return run.results.test.ensemble.last.mean
