"""Each format, from runs to text."""

import csv
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from maml_cli.core.metric import MSE
from maml_cli.report import charts, formats
from maml_cli.report.analysis import Report, analyse
from maml_cli.report.collect import collect
from maml_cli.report.page import page

from .conftest import SIX, MakeRun

REMARK = "incomplete Mini-ImageNet: 300 of 600 images_per class"


@pytest.fixture
def report(make_run: MakeRun, sinusoid: Path, tmp_path: Path) -> Report:
    """MAML below its published 98.7, MAML++ above its 99.47, half a data set, a sinusoid."""
    for seed in (0, 1):
        make_run(f"maml{seed}", 0.9, seed=seed, iterations=600)
        make_run(f"mamlpp{seed}", 0.999, seed=seed, algo="mamlpp", switches=SIX)
    make_run("mini", 0.48, ci95=0.02, dataset="mini_imagenet", remarks=[REMARK])
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("train: {epochs: 2, iterations_per_epoch: 50}")
    (tmp_path / "begun" / "metrics.jsonl").write_text('{"kind": "train", "iteration": 30}\n{"ki')
    assert sinusoid.parent == tmp_path
    return analyse(collect([tmp_path]))


def row(text: str, heading: str, first: str) -> list[str]:
    """The cells of a row of the Markdown table under a heading."""
    section = text.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    [line] = [line for line in section.splitlines() if line.startswith(f"| {first} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_has_ours_beside_the_published_ones(report: Report) -> None:
    text = formats.markdown(report)
    maml = row(text, "Omniglot 5-way 1-shot", "MAML")
    assert maml[1:4] == ["90.00 ± 0.00 % ‡", "98.7 ± 0.4 [1]", "-8.70 ↓"]
    assert maml[5] == "600 × 8 (1 % of 60,000)"
    mamlpp = row(text, "Omniglot 5-way 1-shot", "MAML++")
    assert mamlpp[1:4] == ["99.90 ± 0.00 %", "99.47 [2]", "+0.43 ↑"]
    state, published = row(text, "Omniglot 5-way 1-shot", "Memory Mod.")[1:3]
    assert state == "not run"
    assert published.startswith("98.4 [")
    assert "For all rows: ± over 2 seeds; split test; seeds 0, 1;" in text
    assert "[1] Finn et al. 2017, table 1; their ± is the 95 % interval over tasks" in text


def test_incomplete_data_are_marked_in_the_cell(report: Report) -> None:
    text = formats.markdown(report)
    cells = row(text, "Mini-ImageNet 5-way 1-shot", "MAML")
    assert cells[1] == "48.00 ± 2.00 % † ‡"
    assert cells[3] == "-0.70 ≈; -0.25 ≈"
    assert f"† {REMARK}" in text
    assert "| 48.00 ± 2.00 % † ‡ (48.70 ± 1.84) |" in text.split("## Mini-ImageNet")[0]


def test_errors_stand_above_the_published_ones(report: Report) -> None:
    text = formats.markdown(report)
    ours = row(text, "Sinusoid 5 points", "MAML  ")
    assert ours[1:5] == ["3.000 ± 0.050", "0.700 ± 0.050 ≈", "0.400 ± 0.050 ≈", "0.360 ± 0.050 ≈"]
    theirs = row(text, "Sinusoid 5 points", "MAML, published")
    assert theirs[1:5] == ["", "0.67", "0.38", "0.35"]


def test_pairs_and_what_is_not_counted(report: Report) -> None:
    text = formats.markdown(report)
    assert row(text, "Not counted", report.unfinished[0].folder.as_posix())[1] == (
        "iteration 30 of 100"
    )
    assert not report.comparisons  # MAML had fewer iterations than MAML++


@pytest.mark.parametrize("width", [30, 50, 80])
def test_a_narrow_terminal_loses_no_character(report: Report, width: int) -> None:
    def shown(width: int) -> Counter[str]:
        text = io.StringIO()
        Console(file=text, width=width).print(formats.terminal(report))
        return Counter(character for character in text.getvalue() if character not in " \n─")

    assert shown(width) == shown(1000)


def test_latex_escapes_what_latex_reads(report: Report) -> None:
    text = formats.latex(report)
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 4
    for sign in "†‡±×−–↓↑≈↕":
        assert sign not in text
    assert r"300 of 600 images\_per class" in text
    assert re.search(r"48\.00 \$\\pm\$ 2\.00 \\% \$\\dagger\$ \$\\ddagger\$", text)
    assert not re.search(r"(?<!\\)[%#_]", text)


def test_every_row_of_latex_has_the_cells_of_its_header(report: Report) -> None:
    for block in formats.latex(report).split("\\end{tabular}")[:-1]:
        rows = [line for line in block.splitlines() if line.endswith(r"\\")]
        columns = re.search(r"\\begin\{tabular\}\{(l+)\}", block)
        assert columns is not None
        assert {line.count("&") + 1 for line in rows} == {len(columns[1])}


def test_csv_and_json_hold_the_numbers_as_they_are(report: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(formats.comma_separated(report))))
    content = json.loads(formats.json_text(report))
    assert len(lines) == len(content["groups"]) == 4
    [maml] = [g for g in content["groups"] if (g["approach"], g["dataset"]) == ("MAML", "omniglot")]
    assert maml["mean"] == pytest.approx(0.9)
    assert maml["published"] == pytest.approx(0.987)
    assert (maml["train_ways"], maml["train_shots"]) == (5, 1)
    assert (maml["interval_over"], maml["seeds"]) == ("2 seeds", "0 1")
    assert [float(line["mean"]) for line in lines] == [g["mean"] for g in content["groups"]]
    assert content["not_counted"][0]["why"] == "iteration 30 of 100"


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what they are."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_from_elsewhere(report: Report) -> None:
    found = Page(page(report).text)
    assert found.open == []
    assert found.tags.count("svg") >= 3
    assert not {"script", "link", "iframe"} & set(found.tags)
    for address in found.addresses:
        assert address is not None
        assert address.startswith(("#", "data:image/png;base64,"))


def test_the_page_has_a_dark_side_and_escapes_text(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("run", remarks=["a < b & c"])
    text = page(analyse(collect([tmp_path]))).text
    assert "prefers-color-scheme: dark" in text
    assert "a &lt; b &amp; c" in text
    assert "#000001" not in text  # ink of the charts is the page's own
    assert "currentColor" in text


def test_the_page_draws_what_a_run_wrote(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("run")
    val = {"mean": 0.5, "ci95": 0.1, "n": 10}
    lines = [
        {"kind": "train", "iteration": 10, "iterations_per_second": 2.0},
        {"kind": "val", "iteration": 10, "val": [val], "inner_rates": {"head.bias": [0.123]}},
        {"kind": "train", "iteration": 20, "iterations_per_second": 5.0},
        {"kind": "val", "iteration": 20, "val": [val], "inner_rates": {"head.bias": [0.321]}},
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    text = page(analyse(collect([tmp_path]))).text
    assert "Learning curves over time" in text
    assert "0.321" in text
    assert "0.123" not in text


def test_a_logarithmic_axis_has_plain_numbers() -> None:
    line = charts.Line("MAML", [0, 1, 2], [3.0, 0.4, 0.02])
    narrow = charts.Line("MAML", [0, 1, 2], [3.0, 2.5, 2.1])
    wide, close = (charts.lines([series], x="", y="", metric=MSE) for series in (line, narrow))
    assert "mathdefault" not in wide + close
    assert re.search(r">0\.1</text>", wide)
    assert re.search(r">2</text>", close)
