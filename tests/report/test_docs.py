"""The pages about results speak of what is there."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from maml_cli.config.check import problems
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


LEARNERS = ROOT / "docs" / "learners"
PAGES = {p.stem: p.read_text() for p in sorted(LEARNERS.glob("*.md")) if p.stem != "README"}
ALGOS = {algo: n for n, t in PAGES.items() for algo in re.findall(r"algo=(\w+)", t.split("\n")[0])}
"""The page that has the name of an algorithm in its title."""
COMMAND = re.compile(r"^(maml-train|bash|python) (.+)$", re.MULTILINE)


def test_every_algorithm_has_a_page_and_a_place_in_the_index() -> None:
    algos = set(Composer().options("algo"))
    assert set(ALGOS) == algos
    assert [algo for algo in algos if f"`{algo}`" not in (LEARNERS / "README.md").read_text()] == []


def settings(algo: str) -> dict[str, Any]:
    """The settings of an algorithm."""
    return {k: v for k, v in composed(algo).algo.items() if k not in ("_target_", "name")}


def told(page: str) -> dict[str, str]:
    """The settings on a page with their defaults, as far as the table has them as code."""
    return dict(re.findall(r"^\| `algo\.(\w+)` \| `(\S+)` \|", PAGES[page], re.MULTILINE))


@pytest.mark.parametrize("algo", ALGOS)
def test_a_learners_page_has_the_defaults(algo: str) -> None:
    found = {key: OmegaConf.create(f"x: {value}").x for key, value in told(ALGOS[algo]).items()}
    now = settings(algo)
    assert found == {key: now.get(key, "no such setting") for key in found}


@pytest.mark.parametrize("algo", ALGOS)
def test_a_learners_page_has_all_settings_that_are_not_mamls(algo: str) -> None:
    base = {} if algo == "maml" else settings("maml")
    own = [key for key, value in settings(algo).items() if base.get(key) != value]
    assert [key for key in own if f"| `algo.{key}` |" not in PAGES[ALGOS[algo]]] == []


PROTOCOLS = {p.stem: p for p in sorted((ROOT / "conf" / "protocol").glob("*.yaml"))}


def leaves(content: dict[str, Any], start: str = "") -> Iterator[str]:
    """The keys of a YAML file that have values, but for interpolations."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{start}{key}.")
        elif key != "defaults" and "${" not in str(value):
            yield start + key


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_learners_page_has_other_defaults_of_data_sets(protocol: str) -> None:
    algo, dataset = protocol.split("_on_")
    [told] = re.findall(rf"- `dataset={dataset}`: ([^-]*)", PAGES[ALGOS[algo]]) or [""]
    keys = leaves(yaml.safe_load(PROTOCOLS[protocol].read_text()))
    assert [key for key in keys if f"`{key}=" not in told] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_on_a_learners_page_are_valid(page: str) -> None:
    commands = COMMAND.findall(PAGES[page].replace("BUDGET=short ", "").replace("SEEDS=0 ", ""))
    assert commands
    for program, line in commands:
        words = shlex.split(line, comments=True)
        if program == "maml-train":
            sweep = words[0] == "-m"
            assert problems(words[sweep:], multirun=sweep) == [], line
        else:
            assert (ROOT / words[0]).exists(), line


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        if name.startswith("http"):
            continue
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", ["runs", "papers"])
def test_the_results_are_those_that_are_kept(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    report = analyse(collect([Path("docs/results")]))._replace(papers=page == "papers")
    tables = (ROOT / "docs" / f"{page}.md").read_text().split("<!-- tables -->\n")[1]
    assert tables.strip() == formats.markdown(report).strip()
