"""The scores of probabilities in reports."""

import csv
import io
from pathlib import Path

from results import BANDS, CALIBRATED

from maml_cli.report.analysis import Report, analyse
from maml_cli.report.collect import collect
from maml_cli.report.document import sections
from maml_cli.report.formats import comma_separated
from maml_cli.report.section import Section

from .conftest import MakeRun


def report(tmp_path: Path, *, calibration: bool = True) -> Report:
    return analyse(collect([tmp_path]))._replace(calibration=calibration)


def probabilities(report: Report) -> list[Section]:
    return [s for s in sections(report) if s.title.endswith(", probabilities")]


def test_scores_are_shown_on_request_alone(tmp_path: Path, make_run: MakeRun) -> None:
    make_run("run", calibration=CALIBRATED)
    assert not probabilities(report(tmp_path, calibration=False))
    (section,) = probabilities(report(tmp_path))
    assert section.header[2:] == (
        *("probabilities", "samples", "NLL ↓", "Brier ↓", "ECE ↓", "by chance"),
    )
    assert section.rows == [
        ("MAML", "50,000 × 8", "as trained", "10", "0.250 ± 0.013", "0.125 ± 0.010",
         "2.00 ± 0.50 %", "1.25 %"),
        ("MAML", "50,000 × 8", "temperature 1.25", "10", "0.200 ± 0.010", "0.125 ± 0.010",
         "2.00 ± 0.50 %", "1.25 %"),
    ]  # fmt: skip


def test_runs_without_scores_are_named(tmp_path: Path, make_run: MakeRun) -> None:
    make_run("old")
    (section,) = probabilities(report(tmp_path))
    assert section.rows == [("MAML", "not recorded")]
    assert section.notes == ["maml-eval run=DIR makes the scores."]


def test_seeds_are_averaged(tmp_path: Path, sinusoid: Path, make_run: MakeRun) -> None:
    assert sinusoid.is_dir()
    for seed in (0, 1):
        make_run(f"seed{seed}", seed=seed, calibration=CALIBRATED)
    old, new = probabilities(report(tmp_path))
    assert {old.title, new.title} == {
        "Omniglot 5-way 1-shot, probabilities",
        "Sinusoid 5 points, probabilities",
    }
    (seeds,) = [s for s in (old, new) if len(s.header) > 2]
    assert [row[2:5] for row in seeds.rows] == [
        ("as trained", "10", "0.25 ± 0"),
        ("fitted temperature", "10", "0.2 ± 0"),
    ]


def test_other_programs_get_numbers(tmp_path: Path, make_run: MakeRun) -> None:
    make_run("classes", calibration=CALIBRATED)
    make_run("bands", dataset="curves", ways=1, calibration=BANDS)
    lines = list(csv.DictReader(io.StringIO(comma_separated(report(tmp_path)))))
    by_data = {line["dataset"]: line for line in lines}
    classes, bands = by_data["omniglot"], by_data["curves"]
    assert (classes["temperature"], classes["ece_by_chance"]) == ("1.25", "0.0125")
    assert (classes["nll"], classes["fitted_nll"], bands["nll"]) == ("0.25", "0.2", "")
    assert (bands["noise_variance"], bands["fitted_coverage_90"]) == ("0.25", "0.875")
