"""`--help` names everything that a person can type, and answers without torch."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from maml_cli.config.compose import Composer
from maml_cli.core.eval_settings import EvalSettings
from maml_cli.core.settings import RunSettings, TrainSettings


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_every_group_option_and_key_is_there(maml_train: Callable) -> None:
    text = maml_train("--help").out
    composer = Composer()
    for group in composer.groups():
        for option in composer.options(group):
            assert f" {option} " in text
            assert composer.about(group, option) in text
            assert composer.about(group, option) != ""
    keys = [field.name for field in fields(RunSettings)]
    keys += [f"train.{field.name}" for field in fields(TrainSettings)]
    keys += [f"eval.{field.name}" for field in fields(EvalSettings)]
    for key in keys:
        assert f" {key}=" in text
    assert "ways=5 " in text
    assert "a whole number, at least 1: classes per episode" in text
    assert "mamlpp * " in text
    assert "outputs/DATASET/ALGO/NAME" in text


def test_examples_in_the_help_are_valid(maml_train: Callable) -> None:
    lines = [line.strip() for line in maml_train("-h").out.splitlines()]
    examples = [line for line in lines if line.startswith("maml-train") and "=" in line]
    assert len(examples) >= 2
    for example in examples:
        words = [word for word in example.split()[1:] if not word.startswith("--")]
        sweeps = "--multirun" in example
        outcome = maml_train("--cfg", "job", *([] if sweeps else words))
        assert outcome.code == 0


def test_options_of_a_folder_of_ones_own_are_shown(maml_train: Callable) -> None:
    Path("mine/algo").mkdir(parents=True)
    Path("mine/algo/new.yaml").write_text("# Something [new].\nname: new\n")
    assert "Something [new]." in maml_train("--help", "--config-dir", "mine").out


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_it_is_quick_and_leaves_torch_alone(flag: str) -> None:
    code = (
        "import sys; from maml_cli.commands.train import main; "
        f"assert main(['{flag}']) == 0; sys.exit('torch' in sys.modules)"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert time.perf_counter() - start < 5  # 0.4 s on an idle machine; 2 s with torch


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["--hydra-help"], ["--info", "defaults"]])
def test_hydra_answers_without_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from maml_cli.commands.train import main; "
        f"assert main({arguments}) == 0; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_completion_offers_groups_and_options(
    maml_train: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "complete" in maml_train("-sc", "install=bash").out
    monkeypatch.setenv("COMP_LINE", "maml-train algo=maml")
    assert maml_train("-sc", "query=bash").out.split() == ["algo=maml", "algo=mamlpp"]
