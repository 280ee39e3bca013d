"""What is installed is what is in the repository, and it runs from any folder."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import maml_cli

ROOT = Path(__file__).parents[1]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    [file] = folder.iterdir()
    return file


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content and its command."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", folder, wheel], check=True, capture_output=True)
    return folder


def test_the_wheel_holds_the_yaml_files_and_the_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    yaml = {name for name in names if name.startswith("maml_cli/conf/")}
    ours = {file.relative_to(ROOT) for file in (ROOT / "conf").rglob("*.yaml")}
    assert yaml == {f"maml_cli/{file}" for file in ours if file.parent.name != "local"}
    assert len(yaml) >= 15
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "maml_cli").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert {"maml_cli/report/published.yaml", "maml_cli/report/page.html.jinja"} <= names
    assert not any(name.startswith(("tests/", "scripts/", "conf/")) for name in names)
    assert wheel.name.startswith(f"maml_train-{maml_cli.__version__}-")


def test_the_installed_command_runs_elsewhere(installed: Path, tmp_path: Path) -> None:
    command = [
        installed / "bin" / "maml-train",
        *("algo=maml", "dataset=sinusoid", "train.epochs=1", "train.iterations_per_epoch=1"),
        *("eval.val_episodes=2", "eval.test_episodes=2", "hydra.run.dir=run"),
    ]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "results.json").is_file()
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_the_installed_command_reads_the_installed_files(installed: Path, tmp_path: Path) -> None:
    code = "from maml_cli.config.paths import conf_dir; print(conf_dir())"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(printed.stdout.strip()) == installed / "maml_cli" / "conf"


@pytest.fixture
def requirements(installed: Path) -> list[Requirement]:
    """What the wheel asks for, with the development tools."""
    [project] = distributions(name="maml-train", path=[str(installed)])
    return [Requirement(text) for text in project.requires or []]


def needed(requirement: Requirement, seen: set[str]) -> None:
    """Collect the names of a requirement and, from what is installed here, of all it requires."""
    name = canonicalize_name(requirement.name)
    if name in seen:
        return
    seen.add(name)
    try:
        further = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:
        return
    for other in further:
        extras = ("", *requirement.extras)
        if not other.marker or any(other.marker.evaluate({"extra": e}) for e in extras):
            needed(other, seen)


def test_everything_that_is_installed_is_pinned_once(requirements: list[Requirement]) -> None:
    seen: set[str] = set()
    for requirement in requirements:
        needed(requirement, seen)
    assert {"torch", "antlr4-python3-runtime", "ruff"} <= seen
    here = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate()]
    pinned = {canonicalize_name(pin.name) for pin in here}
    assert len(pinned) == len(here)
    assert seen <= pinned
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in PINS)


def test_the_pins_satisfy_the_ranges(requirements: list[Requirement]) -> None:
    ranges = {canonicalize_name(r.name): r.specifier for r in requirements}
    named = [pin for pin in PINS if canonicalize_name(pin.name) in ranges]
    assert {canonicalize_name(pin.name) for pin in named} == set(ranges)
    for pin in named:
        [version] = pin.specifier
        assert ranges[canonicalize_name(pin.name)].contains(version.version), pin


def test_no_registry_is_named() -> None:
    for name in ("pyproject.toml", "constraints.txt", "scripts/setup.sh"):
        assert "://" not in (ROOT / name).read_text()
