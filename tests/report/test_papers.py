"""The papers' tables: every published number has a row, ours stands beside it or a reason."""

from pathlib import Path

import pytest

from maml_cli.commands.report import main
from maml_cli.report.analysis import analyse
from maml_cli.report.collect import collect
from maml_cli.report.document import sections
from maml_cli.report.published import literature
from maml_cli.report.section import Section

from .conftest import MakeRun

FIVE, TWENTY = "Omniglot 5-way 1-shot", "Omniglot 20-way 1-shot"


def papers(*folders: Path) -> dict[str, Section]:
    report = analyse(collect(list(folders)))._replace(papers=True)
    return {section.title: section for section in sections(report)}


def row(table: Section, *start: str) -> tuple[str, ...]:
    """What stands beside the first published number of an approach in a task."""
    return next(row[len(start) :] for row in table.rows if row[: len(start)] == start)


def test_every_published_number_has_one_row(make_run: MakeRun) -> None:
    tables = papers(make_run("run"))
    wanted = sum(len(number.steps) or 1 for number in literature().numbers)
    assert sum(len(table.rows) for table in tables.values()) == wanted
    assert {"Finn et al. 2017", "Finn, Xu & Levine 2018", "Antoniou et al. 2019"} <= set(tables)


def test_ours_stands_beside_the_number_with_its_budget(make_run: MakeRun) -> None:
    make_run("short", 0.5, iterations=100, tasks_per_batch=8)
    long = make_run("long", 0.9, iterations=600, tasks_per_batch=8)
    # the run with more iterations: 600 of 60,000 are 1 %; 90 is below 98.7
    assert row(papers(long.parent)["Finn et al. 2017"], "MAML", FIVE) == (
        "98.7 ± 0.4 [1]", "conv4, 60,000 × 32", "90.00 ± 1.00 % ‡ ↓", "600 episodes",
        "600 × 8 (1 % of 60,000), ensemble of 5", "",
    )  # fmt: skip


def test_of_two_runs_the_one_with_more_training_examples(make_run: MakeRun) -> None:
    """600 tasks of 20 ways and 1 + 4 examples are more than 500 times 8 of 5 ways and 1 + 1."""
    make_run("many", 0.5, algo="siamese", toggles={}, iterations=500, tasks_per_batch=8)
    large = make_run(
        "large", 0.9, algo="siamese", toggles={}, iterations=600, tasks_per_batch=1,
        train_ways=20, train_queries=4,
    )  # fmt: skip
    shown = row(papers(large.parent)["Finn et al. 2017"], "Siamese Nets", FIVE)[4]
    assert shown == "600 × 1, trained 20-way 1-shot, ensemble of 5"


def test_a_dash_has_its_reason(make_run: MakeRun) -> None:
    run = make_run("run", 0.9, algo="reptile", toggles={}, bn_stats="support")
    table = papers(run)["Nichol et al. 2018"]
    assert row(table, "Reptile", FIVE)[2:] == (
        *("–", "–", "–"),
        "run only with eval.bn_stats=support: 90.00 ± 1.00 %",
    )
    assert row(table, "Reptile", TWENTY)[2:] == ("–", "–", "–", "not run")


def test_an_interval_that_says_nothing_gives_no_verdict(make_run: MakeRun) -> None:
    """Over seeds with 90 and 10 %: 50 ± 12.7 · 40 %, where 98.7 % lies as any number does."""
    make_run("high", 0.9, seed=0)
    low = make_run("low", 0.1, seed=1)
    table = papers(low.parent)["Finn et al. 2017"]
    shown, over = row(table, "MAML", FIVE)[2:4]
    assert over == "2 seeds"
    assert shown.startswith("50.00 ± 508")
    assert shown.endswith("↕")
    assert not set(shown) & set("≈↑↓")
    assert any("wider than the mean" in note for note in table.notes)


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [(0.8794, "↓"), (0.8796, "≈"), (0.8820, "≈"), (0.8844, "≈"), (0.8846, "↑")],
)
def test_a_published_number_may_be_off_by_half_of_its_last_digit(
    make_run: MakeRun, mean: float, verdict: str
) -> None:
    """88.2 may be 88.15 to 88.25; with ± 0.2 ours touches them from 87.95 to 88.45 on."""
    run = make_run("run", mean, ci95=0.002, algo="siamese", toggles={}, ways=20)
    shown = row(papers(run)["Antoniou et al. 2019"], "Siamese Nets", TWENTY)[2]
    assert shown.endswith(verdict)


def test_another_network_or_variant_is_said(make_run: MakeRun) -> None:
    released = dict.fromkeys(("msl", "bnrs", "bnwb", "lslr", "ca"), True)
    run = make_run("run", algo="mamlpp", switches=released, ways=20, backbone="conv4_strided")
    shown = row(papers(run)["Antoniou et al. 2019"], "MAML++", TWENTY)[4]
    assert shown.startswith("MAML++ − DA, ")
    assert "conv4_strided" in shown


def test_another_measure_gets_no_verdict(make_run: MakeRun) -> None:
    """82.8 % is the second showing in a stream, ours is the accuracy of episodes."""
    run = make_run("run", 0.5, algo="mann", toggles={}, backbone="pixels")
    ours, why = (row(papers(run)["Finn et al. 2017"], "MANN, no conv", FIVE)[k] for k in (2, 5))
    assert ours == "50.00 ± 1.00 %"
    assert why == "published is another measure: accuracy at a showing in a stream"
    table = next(s for s in sections(analyse(collect([run]))) if s.title == FIVE)
    [mann] = [cells for cells in table.rows if "50.00 ± 1.00 %" in cells]
    assert "82.8 [1]" in mann  # it stands there, without a difference
    assert "-32.80 ↓" not in mann


def test_errors_have_a_row_for_each_number_of_steps(sinusoid: Path) -> None:
    table = papers(sinusoid)["Finn et al. 2017"]
    waves = [row for row in table.rows if row[0] == "MAML" and row[1].startswith("Sinusoid")]
    assert [(row[1][19:], row[2], row[4]) for row in waves] == [
        ("1 step", "0.67 [4]", "0.700 ± 0.050 ≈"),
        ("5 steps", "0.38 [4]", "0.400 ± 0.050 ≈"),
        ("10 steps", "0.35 [4]", "0.360 ± 0.050 ≈"),
    ]


@pytest.mark.parametrize("suffix", [".html", ".md", ".tex"])
def test_the_tables_can_be_written_to_a_file(
    make_run: MakeRun, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"papers{suffix}"
    assert main(["--papers", str(make_run("run")), "--output", str(file)]) == 0
    text = file.read_text(encoding="utf-8")
    assert "Finn et al. 2017" in text
    assert "98.7" in text


def test_a_remark_names_its_row(make_run: MakeRun) -> None:
    run = make_run("run", remarks=("half of the data",))
    notes = papers(run)["Finn et al. 2017"].notes
    assert "† MAML, Omniglot 5-way 1-shot: half of the data" in notes


def test_tables_to_read_have_no_flat_form(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--papers", str(make_run("run")), "--format", "csv"]) == 2
    assert "use html, markdown or latex instead of csv" in capsys.readouterr().err
