"""maml-report as it is typed."""

import subprocess
import sys
from pathlib import Path

import pytest

from maml_cli.commands.report import main

from .conftest import MakeRun

ROOT = Path(__file__).parents[2]


def test_the_kept_results_can_be_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "docs" / "results"), "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    assert "94.73 ± 0.82 % ‡" in printed  # omniglot_5way_1shot_maml_3000.json: 0.9473, 0.0082
    assert "0.119 ± 0.019" in printed  # sinusoid_10shot_maml.json after 10 steps


@pytest.mark.parametrize("suffix", ["md", "tex", "csv", "json", "html"])
def test_the_suffix_says_the_format(make_run: MakeRun, tmp_path: Path, suffix: str) -> None:
    make_run("run")
    file = tmp_path / "new" / f"report.{suffix}"
    assert main([str(tmp_path), "--output", str(file)]) == 0
    openings = {"md": "## ", "tex": "\\begin", "csv": "approach,", "json": "{", "html": "<!doctype"}
    assert file.read_text().startswith(openings[suffix])


def test_the_terminal_shows_the_table(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("run")
    assert main([str(tmp_path)]) == 0
    assert "Omniglot 5-way 1-shot" in capsys.readouterr().out


def test_two_runs_are_compared(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Differences 1, 0, 1, 0: mean 50 points, s = root(1/3), t for 3 degrees of freedom 3.182."""
    one = make_run("one", scores=[1.0, 0.0, 1.0, 1.0], switches={"msl": True})
    other = make_run("other", scores=[0.0, 0.0, 0.0, 1.0])
    assert main(["--compare", str(one), str(other), "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    assert "| MAML + MSL against MAML | +50.00 ± 91.87 points | 0.18      | 4 episodes |" in printed


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "error: nowhere: no such file or folder\n"),
        (["."], 2, "error: no finished run among 0 that were begun: name the folders"),
        ([".", "-o", "report.pdf"], 2, "error: --output report.pdf: its suffix says no format"),
        (["damaged"], 3, "error: damaged/results.json: cannot be read"),
        (["--compare", ".", "."], 2, "error: --compare .: holds 0 finished runs"),
    ],
)
def test_mistakes_are_said_with_the_way_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments == ["damaged"]:
        (tmp_path / "damaged").mkdir()
        (tmp_path / "damaged" / "results.json").write_text('{"algo": ')
    assert main(arguments) == code
    assert capsys.readouterr().err.startswith(message)


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from maml_cli.commands.report import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'torch', 'matplotlib', 'scipy', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("usage: maml-report")
    assert done.stdout.endswith("[]\n")
