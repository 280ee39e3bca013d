"""From runs to what the report says: groups in order, and their comparisons."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from maml_cli.core.metric import Metric
from maml_cli.report.collect import Damaged, Found, Run, Unfinished
from maml_cli.report.compare import Paired, comparable, compare_groups, compare_runs
from maml_cli.report.group import Group, Setting, grouped
from maml_cli.report.protocol import names
from maml_cli.report.published import literature


class Comparison(NamedTuple):
    """Two approaches on the same episodes."""

    setting: Setting
    metric: Metric
    ours: str
    theirs: str
    paired: Paired


class Report(NamedTuple):
    """All that the formats write."""

    groups: Sequence[Group]
    """By setting, and within it as the papers' rows; then by budget, the largest first."""
    comparisons: Sequence[Comparison]
    repeated: Sequence[Run]
    unfinished: Sequence[Unfinished]
    damaged: Sequence[Damaged]
    """Files that are left out."""
    calibration: bool = False
    """Whether the scores of probabilities are asked for."""
    papers: bool = False
    """Whether the papers' tables are asked for, row by row, in place of the tables of the runs."""


def analyse(found: Found) -> Report:
    """Group the runs, and compare each comparable group with the first of its setting."""
    groups, repeated = grouped(found.runs)
    groups.sort(key=_place)
    return Report(groups, _comparisons(groups), repeated, found.unfinished, found.damaged)


def pair(report: Report, run: Run, other: Run) -> Report:
    """The report with this comparison for its own ones; raises UsageError and DataError."""
    group, base = Group((run,)), Group((other,))
    return report._replace(comparisons=_named([(group, base, compare_runs(run, other))]))


def _place(group: Group) -> tuple[object, ...]:
    rank = literature().rank(literature().approach(group.protocol))
    return (*group.setting, rank, -group.first.iterations, group.protocol.queries)


def _comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """Within a setting, a group is compared with the first that it is comparable with."""
    found = []
    for _, some in groupby(groups, lambda group: group.setting):
        bases: list[Group] = []
        pairs: list[tuple[Group, Group, Paired]] = []
        for group in some:
            base = next((b for b in bases if comparable(group, b)), None)
            if base is None:
                bases.append(group)
            elif (difference := compare_groups(group, base)) is not None:
                pairs.append((group, base, difference))
        found += _named(pairs)
    return found


def _named(pairs: Sequence[tuple[Group, Group, Paired]]) -> list[Comparison]:
    """The comparisons of a setting; approaches that are there twice are told apart."""
    taking_part = [group for ours, theirs, _ in pairs for group in (ours, theirs)]
    groups = list({id(group): group for group in taking_part}.values())
    called = dict(zip(map(id, groups), names(groups), strict=True))
    return [
        Comparison(ours.setting, ours.metric, called[id(ours)], called[id(theirs)], paired)
        for ours, theirs, paired in pairs
    ]
