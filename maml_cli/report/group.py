"""Runs that differ in their seed alone, as one row."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from maml_cli.core.metric import Metric
from maml_cli.core.results import Course, EvaluationResult, Protocol, RunResults, Spread
from maml_cli.core.stats import Estimate, estimate
from maml_cli.report.collect import Run

Score = Literal["ensemble", "single"]


class Setting(NamedTuple):
    """What a column of the papers' tables stands for.

    Optimisation problems have 0 ways and 0 shots.
    """

    dataset: str
    ways: int
    shots: int


@dataclass(frozen=True)
class Group:
    """The runs of one protocol, one per seed, in the order of the seeds; at least one."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> RunResults:
        """The results of the first seed; all runs share what training does not find out."""
        return self.runs[0].results

    @property
    def protocol(self) -> Protocol:
        """The protocol of the first seed."""
        return self.first.protocol

    @property
    def metric(self) -> Metric:
        """What is measured."""
        return self.protocol.metric

    @property
    def setting(self) -> Setting:
        protocol = self.protocol
        if not self.metric.few_shot:
            return Setting(protocol.dataset, 0, 0)
        return Setting(protocol.dataset, protocol.ways, protocol.shots)

    @property
    def seeds(self) -> list[int]:
        return [run.results.protocol.seed for run in self.runs]

    def result(self, score: Score) -> Estimate:
        """The metric after the last inner step, of the ensemble or of the single best epoch."""
        return over_runs([_course(run.results.test, score).last for run in self.runs])

    @cached_property
    def spread(self) -> dict[int, Spread]:
        """How the losses of problems lie, of the first seed; empty for few-shot tasks."""
        descents = self.first.test.descents
        return {} if descents is None else dict(descents.spread)

    @cached_property
    def course(self) -> dict[int, Estimate]:
        """The metric after each inner step that all runs have; see `EvaluationResult.course`."""
        by_run = [run.results.test.by_step.estimates for run in self.runs]
        shared = set.intersection(*(set(course) for course in by_run))
        return {step: over_runs([course[step] for course in by_run]) for step in sorted(shared)}


def grouped(runs: Iterable[Run]) -> tuple[list[Group], list[Run]]:
    """The groups, and the runs that repeat a seed of their group and are left out of it."""
    by_protocol: dict[str, dict[int, Run]] = defaultdict(dict)
    repeated = []
    for run in runs:
        seeds, seed = by_protocol[_shared(run)], run.results.protocol.seed
        if seed in seeds:
            repeated.append(run)
        else:
            seeds[seed] = run
    groups = [Group(tuple(seeds[seed] for seed in sorted(seeds))) for seeds in by_protocol.values()]
    return groups, repeated


def _shared(run: Run) -> str:
    """Equal for runs that differ only in their seed, their machine and what they found.

    Patience that did not end the training changed nothing.
    """
    results, protocol, test = run.results, run.results.protocol, run.results.test
    settings = {key: value for key, value in run.settings.items() if key != "train.patience"}
    shared = [
        *(protocol.algo, protocol.dataset, protocol.ways, protocol.shots, protocol.queries),
        *(protocol.toggles, protocol.metric.name, protocol.backbone, protocol.tasks_per_batch),
        *(protocol.remarks, results.iterations, settings),
        *(test.split, test.inner_steps, test.bn_stats, test.episodes, test.ensemble_size),
    ]
    return json.dumps(shared, sort_keys=True, default=str)


def over_runs(values: Sequence[Estimate]) -> Estimate:
    """Over the runs' means; a single run's own, which is over its episodes."""
    return values[0] if len(values) == 1 else estimate([value.mean for value in values])


def _course(test: EvaluationResult, score: Score) -> Course:
    return test.ensemble if score == "ensemble" else test.single
