"""The set-up scripts, with stand-ins for Python and pip."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASH = shutil.which("bash") or "bash"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout whose environment notes in pip.log what is installed, and installs nothing."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name, script in {
        "python": 'echo "$@" >>"$(dirname "$0")/../../pip.log"',
        "pip": "true",
        "maml-train": 'echo "maml-train $@"',
    }.items():
        file = tmp_path / ".venv" / "bin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    return tmp_path


def bash(clone: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BASH, "-euc", script],
        cwd=clone,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def installations(clone: Path) -> list[str]:
    log = clone / "pip.log"
    return log.read_text().splitlines() if log.exists() else []


def test_packages_are_installed_once(clone: Path) -> None:
    script = "source scripts/setup.sh; set_up dev; set_up dev; set_up"
    assert bash(clone, script).returncode == 0
    [line] = installations(clone)
    assert line.startswith("-m pip install ")
    assert f"--constraint {clone}/constraints.txt" in line
    assert line.endswith(f"--editable {clone}[dev]")


def test_the_environment_alone_is_made_too(clone: Path) -> None:
    assert bash(clone, "bash scripts/setup.sh; bash scripts/setup.sh").returncode == 0
    [line] = installations(clone)
    assert line.endswith(f"--editable {clone}")


def test_a_long_run_that_is_not_there_is_an_error_with_the_names(clone: Path) -> None:
    found = bash(clone, "bash scripts/long_runs.sh typo")
    assert (found.returncode, found.stdout) == (2, "")
    assert (
        "no run has typo in its name; the names are protonet_omniglot_60way_1shot" in found.stderr
    )


def test_development_tools_are_added_later(clone: Path) -> None:
    assert bash(clone, "source scripts/setup.sh; set_up; set_up dev").returncode == 0
    plain, with_tools = installations(clone)
    assert plain.endswith(f"--editable {clone}")
    assert with_tools.endswith(f"--editable {clone}[dev]")


def test_changed_pins_are_installed(clone: Path) -> None:
    bash(clone, "source scripts/setup.sh; set_up")
    with (clone / "constraints.txt").open("a") as file:
        file.write("another==1\n")
    bash(clone, "source scripts/setup.sh; set_up")
    assert len(installations(clone)) == 2


def test_a_failed_installation_is_tried_again(clone: Path) -> None:
    python = clone / ".venv" / "bin" / "python"
    working = python.read_text()
    python.write_text("#!/bin/sh\nexit 1\n")
    assert bash(clone, "source scripts/setup.sh; set_up").returncode != 0
    python.write_text(working)
    bash(clone, "source scripts/setup.sh; set_up")
    assert len(installations(clone)) == 1


def test_no_python_is_said_with_the_way_out(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    tools = clone / "tools"
    tools.mkdir()
    for name in ("cat", "cksum", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    outcome = bash(clone, "source scripts/setup.sh; set_up", PATH=str(tools))
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("error: Python 3.10 to 3.13 ")
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("typed", "run"), [("", "experiment=quickstart"), ("ways=20 shots=1", "ways=20 shots=1")]
)
def test_quickstart_passes_its_arguments_on(clone: Path, typed: str, run: str) -> None:
    outcome = bash(clone, f"bash scripts/quickstart.sh {typed}")
    assert outcome.stdout == f"maml-train {run}\n"
