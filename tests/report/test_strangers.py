"""Run folders of other people: what is not right in them is named, and the rest is reported."""

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from maml_cli.commands.report import main

from .conftest import MakeRun

FORMATS = ("terminal", "markdown", "latex", "csv", "json", "html")


@pytest.fixture
def pair(make_run: MakeRun, tmp_path: Path) -> Path:
    """Two runs that met the same three episodes; the second is to be changed."""
    make_run("one", scores=[1.0, 1.0, 0.5])
    make_run("other", scores=[0.5, 1.0, 0.5], algo="fomaml")
    return tmp_path


def change(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def reported(place: Path, capsys: pytest.CaptureFixture[str], form: str) -> tuple[int, str, str]:
    code = main([str(place), "--format", form])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, printed.out, printed.err


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"ensemble": [0.0], "single": [0.0]}, "ensemble has 1 scores"),
        ({"ensemble": [0.5, 1.0, 0.5], "single": [0.5]}, "single has 1 scores"),
        ({"ensemble": [1.0, 1.0, 1.0], "single": [0.5, 1.0, 0.5]}, "ensemble has the mean 1, but"),
        ({"ensemble": [1.5, 0.0, 0.5], "single": [0.5, 1.0, 0.5]}, "not between 0 and 1"),
        ({"ensemble": [0.5, 1.0, None], "single": [0.5, 1.0, 0.5]}, "ensemble has the mean nan"),
        ({"ensemble": [0.5, 1.0, "x"]}, "ensemble must be a list of numbers"),
        ({"single": [0.5, 1.0, 0.5]}, "ensemble is missing"),
        ([], "the file is not a JSON object"),
    ],
    ids=str,
)
def test_scores_that_contradict_the_results_are_named_and_not_compared(
    pair: Path, capsys: pytest.CaptureFixture[str], scores: Any, reason: str
) -> None:
    (pair / "other/test_scores.json").write_text(json.dumps(scores))
    code, out, err = reported(pair, capsys, "markdown")
    assert code == 3
    assert "other/test_scores.json" in err
    assert reason in err
    assert "| MAML " in out
    assert " against " not in out


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"test": {"mean": 7.5, "ci95": 0.1, "episodes": 3, "ensemble": 5}}, "accuracy 7.5"),
        ({"test": {"mean": 0.5, "ci95": -1, "episodes": 3, "ensemble": 5}}, "interval -1"),
        ({"toggles": None}, "toggles must be"),
        ({"seed": "x"}, "seed must be"),
        ({"seed": -1}, "seed must be"),
        ({"iterations": 10**400}, "iterations must be"),
        ({"seconds_per_iteration": True}, "seconds_per_iteration must be"),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", FORMATS)
def test_impossible_results_are_named_and_the_others_reported(
    pair: Path, capsys: pytest.CaptureFixture[str], entries: dict[str, Any], reason: str, form: str
) -> None:
    change(pair / "other/results.json", **entries)
    code, out, err = reported(pair, capsys, form)
    assert code == 3
    assert "other/results.json" in err
    assert reason in err
    assert "750" not in out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", "[" * 100_000 + "]" * 100_000),
        ("results.json", '{"algo": NaN, "test": 1}'),
        ("results.json", '{"algo": "\\ud800'),
        ("config.yaml", "[" * 2000),
        ("config.yaml", "seed: ${oc.env:HOME}"),
        ("config.yaml", "&a [*a]"),
        ("config.yaml", "a: !!python/object/apply:os.system [x]"),
        ("metrics.jsonl", '{"kind": "train", "iteration": 1, "iterations_per_second": 0}\n'),
        ("metrics.jsonl", '{"kind": "val", "iteration": 1, "val": [], "inner_rates": {}}\n'),
        ("metrics.jsonl", "[1]\n"),
        ("curves.png", "precious"),
    ],
)
def test_a_damaged_file_is_left_out(
    pair: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    (pair / "other" / name).write_text(content)
    code, out, err = reported(pair, capsys, "html")
    assert code == 3
    assert f"other/{name}: cannot be read" in err
    assert "MAML" in out


@pytest.mark.parametrize("name", ["results.json", "config.yaml", "test_scores.json", "curves.png"])
@pytest.mark.parametrize("kind", ["a link", "a pipe"])
def test_what_is_no_regular_file_is_left_out(
    pair: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    secret = pair / "secret.txt"
    secret.write_bytes(b"\x89PNG\r\n\x1a\nprecious")
    file = pair / "other" / name
    file.unlink(missing_ok=True)
    file.symlink_to(secret) if kind == "a link" else os.mkfifo(file)
    code, out, err = reported(pair, capsys, "html")
    assert code == 3
    assert f"other/{name}: cannot be read (is {kind}, and only regular files are used)" in err
    assert "cHJlY2lvdXM" not in out


def test_a_yaml_bomb_is_refused_by_its_size(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    (pair / "other/config.yaml").write_text("\n".join(lines))
    code, _, err = reported(pair, capsys, "csv")
    assert code == 3
    assert "it holds" in err
    assert "MAML_LIMITS=4" in err


FORGED = {
    "algo": "x | 99.99 ± 0.01 % | 1 |\n| fake",
    "remarks": ["r\n\n# Heading <script>"],
    "dataset": "d\x1b]0;PWNED\x07\x1b[2J\u202e",
}


@pytest.mark.parametrize("form", FORMATS)
def test_output_cannot_be_forged(pair: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    shutil.rmtree(pair / "one")
    change(pair / "other/results.json", **FORGED)
    code, out, _ = reported(pair, capsys, form)
    assert code == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert "\n# Heading" not in out
    assert "\n| fake" not in out
    assert form != "html" or "<script>" not in out


def test_a_spreadsheet_computes_nothing(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(pair / "other/results.json", algo="=cmd|'/C calc'!A0", dataset='=HYPERLINK("x")')
    _, out, _ = reported(pair, capsys, "csv")
    for row in csv.reader(io.StringIO(out)):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_null_scores_of_a_diverged_run_are_read(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    nan = float("nan")
    for name in ("one", "other"):
        folder = make_run(name, scores=[nan, 1.0, 0.5], switches={"msl": name == "one"})
        for file in ("results.json", "test_scores.json"):
            text = (folder / file).read_text().replace("NaN", "null")
            (folder / file).write_text(text)
    for form in FORMATS:
        code, out, _ = reported(tmp_path, capsys, form)
        assert code == 0
        assert "not finite" in out or form in ("csv", "json")
        assert "nan" not in out or form == "csv"
