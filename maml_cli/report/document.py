"""The report as titles, tables and notes, which every format writes in its own way."""

from collections.abc import Sequence
from itertools import groupby
from math import isfinite

from maml_cli.core.plain_text import printable
from maml_cli.core.results import Environment
from maml_cli.report import calibration, papers
from maml_cli.report.analysis import Comparison, Report
from maml_cli.report.cells import (
    NONE,
    Sources,
    against,
    budget_cell,
    clock,
    error,
    interval,
    joined,
    legend,
    measured,
    points,
    sentence,
    value,
)
from maml_cli.report.group import Group, Setting
from maml_cli.report.problems import losses
from maml_cli.report.protocol import budget, remarks, shared_and_varying
from maml_cli.report.published import Published, literature
from maml_cli.report.section import Section, label, title
from maml_cli.reporting.format import count
from maml_cli.reporting.table import MARK

STEPS = (0, 1, 5, 10)
"""The inner steps whose errors the papers print."""


def sections(report: Report) -> list[Section]:
    """The overview, a table per setting, the comparisons, and the single runs; or the papers'."""
    if report.papers:
        return [_plain(section) for section in [*papers.tables(report), *_left_out(report)]]
    by_setting = [
        (setting, list(groups)) for setting, groups in groupby(report.groups, lambda g: g.setting)
    ]
    found = [
        *_overview(by_setting),
        *(_setting(setting, groups) for setting, groups in by_setting),
        *(_calibration(s, groups) for s, groups in by_setting if report.calibration),
        *_comparisons(report.comparisons),
        *_runs(report),
        *_left_out(report),
    ]
    return [_plain(section) for section in found]


def _plain(section: Section) -> Section:
    """The section with the control characters of other people's texts shown, not sent."""
    return section._replace(
        title=printable(section.title),
        header=tuple(map(printable, section.header)),
        rows=[tuple(map(printable, row)) for row in section.rows],
        notes=[printable(note) for note in section.notes],
    )


def _overview(by_setting: Sequence[tuple[Setting, list[Group]]]) -> list[Section]:
    """As in the papers: a row per approach, a column per data set, ways and shots."""
    columns = [(s, groups) for s, groups in by_setting if not groups[0].metric.per_step]
    if len(columns) < 2:
        return []
    cells: dict[tuple[str, str], dict[Setting, str]] = {}
    for setting, groups in columns:
        for group in groups:
            row = cells.setdefault((label(group), budget(group)), {})
            published = literature().for_group(group)
            shown = measured(group, group.result("ensemble"), published)
            shown += "".join(f" ({value(number)})" for number in published[:1])
            row[setting] = f"{row[setting]}; {shown}" if setting in row else shown
    rows = [
        (approach, size, *(row.get(setting, NONE) for setting, _ in columns))
        for (approach, size), row in sorted(
            cells.items(), key=lambda item: literature().rank(item[0][0])
        )
    ]
    header = ("approach", "iterations × tasks", *(title(setting) for setting, _ in columns))
    notes = ["In brackets: the published number.", legend(rows)]
    if any(";" in cell for row in rows for cell in row):
        notes.append("Several numbers in a cell: the task's own table says how the runs differ.")
    return [Section("Overview", header, rows, notes)]


def _setting(setting: Setting, groups: list[Group]) -> Section:
    sources = Sources()
    shared, varying = shared_and_varying(groups)
    if groups[0].spread:
        found = losses(groups, varying)
    else:
        table = _errors if groups[0].metric.per_step else _accuracies
        found = table(groups, sources, varying)
    header, rows = _without_empty_columns(*found)
    same = "; ".join(f"{name} {value}" for name, value in shared.items())
    notes = ["± is the 95 % Student-t interval."]
    notes += [sentence(f"For all rows: {same}")] if shared else []
    notes += [legend(rows), *sources.notes()]
    notes += sorted({f"{MARK} {remark}" for group in groups for remark in remarks(group)})
    notes += [f"{label(g)}: {said}" for g in groups for said in g.first.learned]
    return Section(title(setting), header, rows, [note for note in notes if note])


def _without_empty_columns(
    header: tuple[str, ...], rows: list[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    kept = [place for place, cells in enumerate(zip(*rows, strict=True)) if {*cells} - {NONE, ""}]
    return tuple(header[k] for k in kept), [tuple(row[k] for k in kept) for row in rows]


def _accuracies(
    groups: list[Group], sources: Sources, varying: dict[str, list[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows = []
    for place, group in enumerate(groups):
        published, result = literature().for_group(group), group.result("ensemble")
        rows.append(
            (
                label(group),
                measured(group, result, published),
                joined(f"{value(n)} {sources.mark(n)}" for n in published),
                joined(
                    against(group, result, n.accuracy) for n in published if n.accuracy is not None
                ),
                interval(group, group.result("single")),
                budget_cell(group, published),
                *(column[place] for column in varying.values()),
            )
        )
    blank = [NONE] * len(varying)
    for approach, numbers in _not_run(groups).items():
        cell = joined(f"{value(n)} {sources.mark(n)}" for n in numbers)
        rows.append((approach, "not run", cell, NONE, NONE, NONE, *blank))
    metric = groups[0].metric.name
    header = ("approach", metric, "published", "ours − published", "single best epoch")
    return (*header, "iterations × tasks", *varying), rows


def _not_run(groups: list[Group]) -> dict[str, list[Published]]:
    """The published numbers of the setting's other approaches."""
    run = {label(group) for group in groups}
    cited = [number for group in groups for number in literature().for_group(group)]
    found: dict[str, list[Published]] = {}
    for number in literature().numbers:
        here = number.setting == groups[0].setting
        if here and number not in cited and number.approach not in run:
            found.setdefault(number.approach, []).append(number)
    return dict(sorted(found.items(), key=lambda item: literature().rank(item[0])[0]))


def _errors(
    groups: list[Group], sources: Sources, varying: dict[str, list[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A row of errors after some inner steps for each group, the published ones beneath it."""
    known = {step for group in groups for step in group.course}
    steps = sorted(known & {*STEPS, *(max(group.course) for group in groups)})
    rows = []
    for place, group in enumerate(groups):
        published = literature().for_group(group)
        nearest: dict[int, float] = {}
        for number in reversed(published):
            nearest |= number.steps
        cells = [
            measured(group, group.course[step], published, against=nearest.get(step))
            if step in group.course
            else NONE
            for step in steps
        ]
        conditions = [column[place] for column in varying.values()]
        rows.append((label(group), *cells, budget_cell(group, published), *conditions))
        for number in published:
            cells = [error(number, step) for step in steps]
            name = f"{number.approach}, published {sources.mark(number)}"
            blank = [""] * len(varying)
            rows.append(
                (name, *cells, f"{number.iterations:,}" if number.iterations else "", *blank)
            )
    metric = groups[0].metric.name
    header = ("approach", *(f"{metric}, {count(s, 'step', 'steps')}" for s in steps))
    return (*header, "iterations × tasks", *varying), rows


def _calibration(setting: Setting, groups: list[Group]) -> Section:
    """The scores of probabilities of the setting's groups, as far as they were recorded."""
    heading = f"{title(setting)}, probabilities"
    recorded = [group for group in groups if calibration.calibrations(group)]
    missing = [label(group) for group in groups if group not in recorded]
    way = "maml-eval run=DIR makes the scores"
    if not recorded:
        none = [(name, "not recorded") for name in missing]
        return Section(heading, ("approach", "probabilities"), none, [f"{way}."])
    of_ece = calibration.has_ece(recorded[0])
    notes = [
        "± is over seeds if there are several, else over test episodes"
        + ("; that of the ECE is by resampling them. " if of_ece else ".")
        + ("By chance: what a perfectly calibrated model would show." if of_ece else "")
    ]
    notes += [sentence(f"Not recorded: {', '.join(missing)}; {way}")] if missing else []
    rows = [row for group in recorded for row in calibration.rows(label(group), group)]
    return Section(heading, calibration.header(recorded), rows, notes)


def _comparisons(comparisons: Sequence[Comparison]) -> list[Section]:
    found = []
    for setting, some in groupby(comparisons, lambda c: c.setting):
        rows = [
            (
                f"{c.ours} against {c.theirs}",
                points(c.metric, c.paired.difference, c.paired.ci95),
                f"{c.paired.p_value:.2g}" if isfinite(c.paired.p_value) else NONE,
                f"{c.paired.n:,} {c.paired.over}",
            )
            for c in some
        ]
        found.append(
            Section(
                f"{title(setting)}, compared in pairs",
                ("pair", "difference", "p-value", "pairs"),
                rows,
                [
                    "After the last inner step, on the same test episodes, seed by seed; ± is the "
                    "95 % interval of the paired Student-t test, two-sided, not corrected for the "
                    "number of pairs."
                ],
            )
        )
    return found


def _runs(report: Report) -> list[Section]:
    rows = [
        (
            label(group),
            title(group.setting),
            str(run.results.protocol.seed),
            interval(group, Group((run,)).result("ensemble")),
            clock(run.results.iterations * run.results.seconds_per_iteration),
            _machine(run.results.environment),
            str(run.file),
            " && ".join(run.commands),
        )
        for group in report.groups
        for run in group.runs
    ]
    header = ("approach", "task", "seed", "result", "training", "machine", "file", "command")
    note = "Result: of the ensemble after the last inner step, ± over test episodes."
    return [Section("Runs", header, rows, [note], kind="register")] if rows else []


def _machine(environment: Environment) -> str:
    """The processor that computed the run, or its GPU."""
    return environment.cpu if environment.device == "cpu" else environment.device


def _left_out(report: Report) -> list[Section]:
    rows = [(str(run.folder), run.state) for run in report.unfinished]
    rows += [(str(damaged.file), f"cannot be read: {damaged.reason}") for damaged in report.damaged]
    rows += [
        (str(run.file), f"repeats seed {run.results.protocol.seed} of the same settings")
        for run in report.repeated
    ]
    return [Section("Not counted", ("run", "why"), rows, kind="remark")] if rows else []
