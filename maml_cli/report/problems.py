"""The table of optimisers: their losses on the same problems, step by step."""

from collections.abc import Mapping, Sequence

from maml_cli.core.results import MILESTONES
from maml_cli.report.cells import NONE, budget_cell, interval
from maml_cli.report.group import Group
from maml_cli.report.published import literature
from maml_cli.reporting.format import count, show


def losses(
    groups: Sequence[Group], varying: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A row for each optimiser: mean, median and problems that diverged, after some steps."""
    known = {step for group in groups for step in group.course}
    told = sorted(known & {*MILESTONES, *(max(group.course) for group in groups)})
    rows = []
    for place, group in enumerate(groups):
        descents = group.first.test.descents
        seconds = descents.seconds_per_step if descents else float("nan")
        rows.append(
            (
                literature().approach(group.protocol),
                *(_cell(group, step) if step in group.course else NONE for step in told),
                f"{1e6 * seconds:,.0f}",
                budget_cell(group, []),
                *(column[place] for column in varying.values()),
            )
        )
    header = ("optimiser", *(f"loss, {count(step, 'step', 'steps')}" for step in told))
    return (*header, "µs per step", "iterations × problems", *varying), rows


def _cell(group: Group, step: int) -> str:
    """`0.075 ± 0.019, median 0.0345`, and how many problems diverged, if any did."""
    spread = group.spread[step]
    parts = [interval(group, group.course[step]), f"median {show(group.metric, spread.median)}"]
    return ", ".join([*parts, *([f"{spread.diverged} diverged"] if spread.diverged else [])])
