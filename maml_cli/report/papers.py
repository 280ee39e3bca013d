"""The papers' tables, row by row: ours beside each published number, or why there is none."""

import re
from collections.abc import Iterable, Iterator, Sequence

from maml_cli.report.analysis import Report
from maml_cli.report.cells import (
    NONE,
    Sources,
    budget_cell,
    error,
    interval,
    joined,
    legend,
    measured,
    value,
)
from maml_cli.report.group import Group
from maml_cli.report.protocol import other_training, over, remarks
from maml_cli.report.published import Published, literature, unmet
from maml_cli.report.section import Section, title
from maml_cli.reporting.format import count
from maml_cli.reporting.table import MARK

HEADER = (
    "approach", "task", "published", "published with", "ours", "± over", "ours with", "why not",
)  # fmt: skip
NOTE = (
    "Ours is after the last inner step, of the network of the best epoch or of the ensemble in "
    "“ours with”; ± is the 95 % Student-t interval."
)


def tables(report: Report) -> list[Section]:
    """A table for each paper; papers and numbers are in the order of the file."""
    by_paper: dict[str, list[Published]] = {}
    for number in literature().numbers:
        by_paper.setdefault(_paper(number), []).append(number)
    return [_table(paper, numbers, report.groups) for paper, numbers in by_paper.items()]


def _paper(number: Published) -> str:
    """`Finn et al. 2017` of the source `Finn et al. 2017, table 1`."""
    found = re.match(r".*?\d{4}", number.source)
    return found[0] if found else number.source


def _table(paper: str, numbers: Sequence[Published], groups: Sequence[Group]) -> Section:
    sources, rows, said = Sources(), [], set()
    for number in numbers:
        same = [group for group in groups if literature().is_of(number, group)]
        ours = _largest(group for group in same if not unmet(number, group))
        for step in number.steps or (None,):
            rows.append(_row(number, step, ours, _largest(same), sources))
        whose = f"{number.approach}, {title(number.setting)}"
        said |= {f"{MARK} {whose}: {remark}" for remark in (remarks(ours) if ours else ())}
    notes = [NOTE, legend(rows), *sources.notes(), *sorted(said)]
    return Section(paper, HEADER, rows, [note for note in notes if note])


def _largest(groups: Iterable[Group]) -> Group | None:
    """The group that has seen the most examples in training."""
    return max(groups, key=_examples, default=None)


def _examples(group: Group) -> int:
    """How many examples the updates were made of; tasks differ in their size."""
    run, protocol = group.runs[0], group.protocol
    queries = protocol.queries if protocol.train_queries is None else protocol.train_queries
    of_task = run.train_ways * (run.train_shots + queries)
    return group.first.iterations * protocol.tasks_per_batch * of_task


def _row(
    number: Published, step: int | None, ours: Group | None, near: Group | None, sources: Sources
) -> tuple[str, ...]:
    """A published number, after an inner step if it is an error; `near` may differ in settings."""
    task, published, known = title(number.setting), value(number), number.accuracy
    if step is not None:
        task += f", {count(step, 'step', 'steps')}"
        published, known = error(number, step), number.steps[step]
    shown, over_what, budget, why = NONE, NONE, NONE, _why_not(number, near)
    if ours is not None and (step is None or step in ours.course):
        result = ours.result("ensemble") if step is None else ours.course[step]
        shown = measured(ours, result, [number], against=known)
        why = f"published is another measure: {other}" if (other := number.other_measure) else ""
        over_what, budget = over(ours), ", ".join(filter(None, _ours_with(ours, number)))
    published = f"{published} {sources.mark(number)}"
    with_theirs = _conditions(number)
    return number.approach, task, published, with_theirs, shown, over_what, budget, why


def _ours_with(ours: Group, number: Published) -> Iterator[str]:
    """`600 × 8 (1 % of 60,000)`, `trained 20-way 1-shot`, `ensemble of 5`, and what is special."""
    if (name := literature().approach(ours.protocol)) != number.approach:
        yield name
    yield budget_cell(ours, [number])
    if number.backbone and (network := ours.protocol.backbone) != number.backbone:
        yield network
    yield other_training(ours)
    if (size := ours.first.test.ensemble_size) > 1:
        yield f"ensemble of {size}"


def _conditions(number: Published) -> str:
    """`conv4, 60,000 × 32, train_ways=60`: what is known of the published run."""
    size = f"{number.iterations:,}" if number.iterations else ""
    if size and number.tasks_per_batch:
        size += f" × {number.tasks_per_batch}"
    known = [number.backbone or "", size, *(f"{k}={v}" for k, v in number.where.items())]
    return ", ".join(filter(None, known)) or NONE


def _why_not(number: Published, near: Group | None) -> str:
    """`not run`, or what is known of a run that differs."""
    if near is None:
        return "not run"
    if not (differing := unmet(number, near)):
        return "not tested after so many steps"
    result = interval(near, near.result("ensemble"))
    return f"run only with {joined(differing)}: {result}"
