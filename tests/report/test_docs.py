"""The pages about results speak of what is there."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from maml_cli.config.compose import Composer
from maml_cli.report import formats
from maml_cli.report.analysis import analyse
from maml_cli.report.collect import collect

ROOT = Path(__file__).parents[2]


@cache
def composed(algo: str) -> Any:
    """What the command line makes of an algorithm on Omniglot."""
    return Composer().compose([f"algo={algo}", "dataset=omniglot"])


@cache
def keys() -> set[str]:
    """All settings of all algorithms."""
    found: set[str] = set()
    composer = Composer()
    for algo in composer.options("algo"):
        config = composed(algo)
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


PAGES = sorted(p.stem for p in (ROOT / "docs" / "learners").glob("*.md"))


def settings(algo: str) -> dict[str, Any]:
    """The settings of an algorithm."""
    return {k: v for k, v in composed(algo).algo.items() if k not in ("_target_", "name")}


def told(page: str) -> dict[str, str]:
    """The settings on a page with their defaults, as far as the table has them as code."""
    text = (ROOT / "docs" / "learners" / f"{page}.md").read_text()
    return dict(re.findall(r"^\| `algo\.(\w+)` \| `(\S+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_a_learners_page_has_the_defaults(page: str) -> None:
    found = {key: OmegaConf.create(f"x: {value}").x for key, value in told(page).items()}
    now = settings(page)
    assert found == {key: now.get(key, "no such setting") for key in found}


@pytest.mark.parametrize("page", PAGES)
def test_a_learners_page_has_all_settings_that_are_not_mamls(page: str) -> None:
    base = {} if page == "maml" else settings("maml")
    text = (ROOT / "docs" / "learners" / f"{page}.md").read_text()
    own = [key for key, value in settings(page).items() if base.get(key) != value]
    assert [key for key in own if f"| `algo.{key}` |" not in text] == []


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda page: page.stem
)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        if name.startswith("http"):
            continue
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_the_results_are_those_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    report = analyse(collect([Path("docs/results")]))
    tables = (ROOT / "docs" / "results.md").read_text().split("<!-- tables -->\n")[1]
    assert tables.strip() == formats.markdown(report).strip()
