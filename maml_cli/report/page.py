"""The report as one HTML page that needs nothing else."""

import base64
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from maml_cli import __version__
from maml_cli.core.metric import Metric
from maml_cli.core.plain_text import printable
from maml_cli.report import charts
from maml_cli.report.analysis import Comparison, Report
from maml_cli.report.collect import Damaged, attempted
from maml_cli.report.document import sections
from maml_cli.report.group import Group
from maml_cli.report.history import History, history, mean_history
from maml_cli.report.protocol import names, over
from maml_cli.report.published import literature
from maml_cli.report.run_files import read_picture
from maml_cli.report.section import Section, title
from maml_cli.storage.run_folder import RunFolder


class Chart(NamedTuple):
    """A picture with a heading: an `svg` element, or a PNG file in base64 and its description."""

    title: str
    svg: str = ""
    png: str = ""
    alt: str = ""
    wide: bool = False
    """Whether it takes all columns of the page."""


class Part(NamedTuple):
    """A section with the charts that belong to it."""

    section: Section
    charts: Sequence[Chart]


class Page(NamedTuple):
    """The text of the page, and all files that it leaves out."""

    text: str
    damaged: Sequence[Damaged]


def page(report: Report) -> Page:
    """The whole page: tables, charts, styles for light and dark, wide and narrow windows."""
    environment = Environment(
        loader=PackageLoader("maml_cli.report", ""),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    by_title = {
        title(setting): list(groups)
        for setting, groups in groupby(report.groups, lambda g: g.setting)
    }
    damaged = {found.file: found for found in report.damaged}
    pictures = {
        printable(heading): list(
            _charts(groups, report.comparisons, damaged, calibration=report.calibration)
        )
        for heading, groups in by_title.items()
    }
    report = report._replace(damaged=list(damaged.values()))
    parts = [Part(section, pictures.get(section.title, ())) for section in sections(report)]
    template = environment.get_template("page.html.jinja")
    return Page(template.render(parts=parts, version=__version__), report.damaged)


def _charts(
    groups: Sequence[Group],
    comparisons: Sequence[Comparison],
    damaged: dict[Path, Damaged],
    *,
    calibration: bool,
) -> Iterator[Chart]:
    metric = groups[0].metric
    called = list(map(printable, names(groups)))
    if len(groups) > 1:
        yield from _ranking(called, groups, metric)
    histories = {
        name: found
        for name, group in zip(called, groups, strict=True)
        if (found := mean_history(_histories(group, damaged))) is not None
    }
    if histories:
        yield from _learning_curves(histories, metric)
    if any(len(group.course) > 1 for group in groups):
        yield _per_step(called, groups, metric)
    here = [c for c in comparisons if c.setting == groups[0].setting]
    if here:
        yield _differences(here)
    for name, found in histories.items():
        if found.inner_rates:
            yield Chart(f"Learned inner rates, {name}", charts.rates(found.inner_rates))
    for name, group in zip(called, groups, strict=True):
        folder = group.runs[0].whole_folder
        if folder is None:
            continue
        alt = f"truth, support points and fits of {name} on four test tasks"
        yield from _picture(f"Fitted curves, {name}", folder.curves, alt, damaged)
        if calibration:
            alt = f"promised and observed frequencies of {name}"
            yield from _picture(f"Reliability, {name}", folder.reliability, alt, damaged)


def _picture(heading: str, file: Path, alt: str, damaged: dict[Path, Damaged]) -> Iterator[Chart]:
    """The picture, if the run has it."""
    content = attempted(file, partial(read_picture, file), damaged)
    if content is not None:
        yield Chart(heading, png=base64.b64encode(content).decode(), alt=alt)


def _histories(group: Group, damaged: dict[Path, Damaged]) -> list[History]:
    """Of the runs whose records are there and can be read."""
    found = []
    for run in group.runs:
        file = RunFolder(run.folder).metrics
        one = attempted(file, partial(history, run), damaged)
        found += [] if one is None else [one]
    return found


def _learning_curves(histories: dict[str, History], metric: Metric) -> Iterator[Chart]:
    for x, heading, axis in (
        ("iterations", "Learning curves over iterations", "iterations"),
        ("seconds", "Learning curves over time", "seconds of training"),
    ):
        series = [charts.Line(name, getattr(h, x), h.metric) for name, h in histories.items()]
        svg = charts.lines(series, x=axis, y=f"validation {metric.name}", metric=metric)
        yield Chart(heading, svg)


def _ranking(names: Sequence[str], groups: Sequence[Group], metric: Metric) -> Iterator[Chart]:
    """The results in their order, beside the published ones."""
    rows = []
    for name, group in zip(names, groups, strict=True):
        result = group.result("ensemble")
        theirs = [n.accuracy / metric.scale for n in literature().for_group(group) if n.accuracy]
        if isfinite(result.mean):
            rows.append(charts.Row(name, result.mean, result.ci95, theirs))
    if rows:
        what = " or ".join(dict.fromkeys(over(group) for group in groups))
        x = f"test {metric.name}, ± 95 % interval over {what}"
        svg = charts.ranking(rows, x=x, metric=metric)
        yield Chart("Results, the best first", svg, wide=True)


def _per_step(names: Sequence[str], groups: Sequence[Group], metric: Metric) -> Chart:
    series, points = [], []
    for name, group in zip(names, groups, strict=True):
        course = group.course
        ends = [estimate.ci95 for estimate in course.values()]
        means = [estimate.mean for estimate in course.values()]
        banded = metric.unit == "%" or not metric.few_shot
        series.append(charts.Line(name, list(course), means, ends if banded else ()))
        for number in literature().for_group(group):
            points.append(charts.Line(name, list(number.steps), list(number.steps.values())))
    svg = charts.lines(
        series,
        x="inner steps at test",
        y=f"test {metric.name}",
        metric=metric,
        steps=True,
        points=[line for line in points if line.x],
    )
    return Chart(f"After each inner step{_of_course(groups)}", svg)


def _of_course(groups: Sequence[Group]) -> str:
    """Whose course it is and over what, if it is not the ensemble's on all episodes."""
    told = {
        "" if course is None else f", the best epoch alone on {course.last.n:,} test episodes"
        for group in groups
        for course in [group.first.test.course]
    }
    return told.pop() if len(told) == 1 else " (see the table of each run)"


def _differences(comparisons: Sequence[Comparison]) -> Chart:
    metric = comparisons[0].metric
    unit = "percentage points" if metric.unit == "%" else metric.name
    over = " or ".join(dict.fromkeys(c.paired.over for c in comparisons))
    others = list(dict.fromkeys(c.theirs for c in comparisons))
    alone = len(others) == 1
    svg = charts.differences(
        [c.ours if alone else f"{c.ours}\nagainst {c.theirs}" for c in comparisons],
        [metric.scale * c.paired.difference for c in comparisons],
        [metric.scale * c.paired.ci95 for c in comparisons],
        x=f"{unit}, ± 95 % interval over {over}",
        metric=metric,
    )
    return Chart(f"Difference to {others[0]}" if alone else "Differences in pairs", svg)
