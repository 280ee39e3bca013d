"""Runs that differ in their seed alone, as one row."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Any, Literal, NamedTuple

from maml_cli.core.stats import Estimate, estimate
from maml_cli.report.collect import Run

Score = Literal["test", "test_single"]

SHARED = (
    *("algo", "dataset", "ways", "shots", "queries", "toggles", "metric", "backbone"),
    *("tasks_per_batch", "inner_steps", "bn_stats", "remarks", "iterations"),
)
"""Results that the runs of a group have in common, beside their settings."""


class Setting(NamedTuple):
    """What a column of the papers' tables stands for."""

    dataset: str
    ways: int
    shots: int


@dataclass(frozen=True)
class Group:
    """The runs of one protocol, one per seed, in the order of the seeds; at least one."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Mapping[str, Any]:
        """The results of the first seed; what is no number that training finds, all share."""
        return self.runs[0].results

    @property
    def setting(self) -> Setting:
        return Setting(self.first["dataset"], self.first["ways"], self.first["shots"])

    @property
    def seeds(self) -> list[int]:
        return [run.results["seed"] for run in self.runs]

    @property
    def per_step(self) -> bool:
        """Whether the result is the whole course over the inner steps."""
        return "steps" in self.first["test"]

    def result(self, score: Score) -> Estimate:
        """The metric after the last inner step, of the ensemble or of the single best epoch."""
        return _over_runs([_end(run.results[score]) for run in self.runs])

    @cached_property
    def course(self) -> dict[int, Estimate]:
        """The ensemble's metric after each inner step; empty if the runs have not kept it."""
        by_run = [self._course_of(run.results) for run in self.runs]
        shared = set.intersection(*(set(course) for course in by_run))
        return {step: _over_runs([course[step] for course in by_run]) for step in sorted(shared)}

    @staticmethod
    def _course_of(results: Mapping[str, Any]) -> dict[int, Estimate]:
        test = results.get("test_per_step", results["test"])
        columns = (test.get("steps", ()), test["mean"], test["ci95"])
        if "steps" not in test:
            return {}
        episodes = results["test"]["episodes"]
        return {s: _estimate(m, c, episodes) for s, m, c in zip(*columns, strict=True)}


def grouped(runs: Iterable[Run]) -> tuple[list[Group], list[Run]]:
    """The groups, and the runs that repeat a seed of their group and are left out of it."""
    by_protocol: dict[str, dict[int, Run]] = defaultdict(dict)
    repeated = []
    for run in runs:
        seeds = by_protocol[_protocol(run)]
        if run.results["seed"] in seeds:
            repeated.append(run)
        else:
            seeds[run.results["seed"]] = run
    groups = [Group(tuple(seeds[seed] for seed in sorted(seeds))) for seeds in by_protocol.values()]
    return groups, repeated


def _protocol(run: Run) -> str:
    """Equal for runs that differ in their seed, their machine and their findings alone."""
    shared = {name: run.results.get(name) for name in SHARED}
    shared["split"] = run.results.get("split", "test")
    test = {name: run.results["test"].get(name) for name in ("episodes", "ensemble")}
    return json.dumps([shared, test, run.settings], sort_keys=True, default=str)


def _over_runs(values: Sequence[Estimate]) -> Estimate:
    """Over the runs' means; a single run's own, which is over its episodes."""
    return values[0] if len(values) == 1 else estimate([value.mean for value in values])


def _end(test: Mapping[str, Any]) -> Estimate:
    mean, ci95 = test["mean"], test["ci95"]
    if isinstance(mean, list):
        mean, ci95 = mean[-1], ci95[-1]
    return _estimate(mean, ci95, test["episodes"])


def _estimate(mean: float | None, ci95: float | None, n: int) -> Estimate:
    """As stored: JSON has no nan and no infinity, null stands for both."""
    return Estimate(nan if mean is None else mean, nan if ci95 is None else ci95, n)
