"""The scores of probabilities in a report: of the runs that recorded them, on request."""

from collections.abc import Iterator, Sequence
from typing import Any

from maml_cli.core.calibration import Calibration, Reading
from maml_cli.core.stats import Estimate
from maml_cli.report.group import Group, over_runs
from maml_cli.report.protocol import budget
from maml_cli.reporting.calibration import BY_CHANCE, SCORES, readings, score_cell
from maml_cli.reporting.format import show


def calibrations(group: Group) -> list[Calibration]:
    """Those of the group's runs; empty unless every run has recorded one."""
    found = [run.results.test.calibration for run in group.runs]
    return [] if None in found else [c for c in found if c is not None]


def has_ece(group: Group) -> bool:
    """Whether the scores of a group that has recorded some are of classes."""
    return "ece" in calibrations(group)[0].fitted.scores


def header(groups: Sequence[Group]) -> tuple[str, ...]:
    """The columns, of the groups of one setting that have recorded scores."""
    first = calibrations(groups[0])[0].fitted
    columns: list[str] = []
    for name in first.scores:
        columns += [SCORES[name].name, *([BY_CHANCE] if name in first.by_chance else [])]
    return ("approach", "iterations × tasks", "probabilities", "samples", *columns)


def rows(label: str, group: Group) -> Iterator[tuple[str, ...]]:
    """A row for each way in which the outputs were read; a mean over the seeds."""
    every = calibrations(group)
    names = list(readings(every[0]))
    if len(every) > 1:
        names[-1] = f"fitted {every[0].parameter}"
    for place, name in enumerate(names):
        some = [list(readings(one).values())[place] for one in every]
        yield (label, budget(group), name, str(every[0].samples), *_cells(some))


def _cells(some: Sequence[Reading]) -> Iterator[str]:
    for name, estimate in _scores(some).items():
        yield score_cell(name, estimate)
        if name in some[0].by_chance:
            yield show(SCORES[name], _chance(some, name))


def _scores(some: Sequence[Reading]) -> dict[str, Estimate]:
    return {name: over_runs([one.scores[name] for one in some]) for name in some[0].scores}


def _chance(some: Sequence[Reading], name: str) -> float:
    return sum(one.by_chance[name] for one in some) / len(some)


def flat(group: Group) -> dict[str, Any]:
    """The scores as numbers, for other programs; nothing for a group without them."""
    every = calibrations(group)
    if not every:
        return {}
    values: dict[str, Any] = {"samples": every[0].samples}
    parameter = every[0].parameter.replace(" ", "_")
    values[parameter] = sum(one.value for one in every) / len(every)
    raw = [one.raw for one in every if one.raw is not None]
    for prefix, some in (("", raw), ("fitted_", [one.fitted for one in every])):
        for name, estimate in (_scores(some) if some else {}).items():
            values[f"{prefix}{name}"] = estimate.mean
            values[f"{prefix}{name}_ci95"] = estimate.ci95
            if name in some[0].by_chance:
                values[f"{prefix}{name}_by_chance"] = _chance(some, name)
    return values
