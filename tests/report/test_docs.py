"""The pages about results speak of what is there."""

import re
from functools import cache
from pathlib import Path

import pytest

from maml_cli.config.compose import Composer
from maml_cli.report import formats
from maml_cli.report.analysis import analyse
from maml_cli.report.collect import collect

ROOT = Path(__file__).parents[2]


@cache
def keys() -> set[str]:
    """All settings of all algorithms."""
    found: set[str] = set()
    composer = Composer()
    for algo in composer.options("algo"):
        config = composer.compose([f"algo={algo}", "dataset=omniglot"])
        for group in ("algo", "eval", "train", "dataset"):
            found |= {f"{group}.{key}" for key in config[group]}
    for dataset in composer.options("dataset"):
        found |= {f"dataset.{key}" for key in composer.compose([f"dataset={dataset}"]).dataset}
    return found


def mentioned() -> list[str]:
    text = (ROOT / "docs" / "disagreements.md").read_text()
    return sorted(set(re.findall(r"`((?:algo|eval|train|dataset)\.\w+)", text)))


@pytest.mark.parametrize("key", mentioned())
def test_the_switches_of_the_disagreements_exist(key: str) -> None:
    assert key in keys()


def test_the_results_are_those_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    report = analyse(collect([Path("docs/results")]))
    tables = (ROOT / "docs" / "results.md").read_text().split("<!-- tables -->\n")[1]
    assert tables.strip() == formats.markdown(report).strip()
