"""The examples run as they stand, and stay as short as the documents say."""

import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Outcome

from maml_cli.config.module_path import use_module_paths
from maml_cli.testing import check_algorithm
from maml_cli.testing.problems import Problem, classification, regression

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SHORT = (
    *("train.epochs=1", "train.iterations_per_epoch=2", "train.tasks_per_batch=2"),
    *("eval.val_episodes=2", "eval.test_episodes=3", "dataset=glyphs"),
)
LINES = {
    "protonet/protonet.py": 75,
    "own_network/own_network.py": 25,
    "bayesian_maml/bayesian_maml.py": 90,
}
"""At most so many lines of one's own."""


def commands() -> list[tuple[str, str]]:
    """Folder and command of every example in the README."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    found = [n for n, line in enumerate(lines) if line.startswith("cd examples/")]
    return [(lines[n].removeprefix("cd "), lines[n + 1]) for n in found]


def test_the_readme_shows_a_network_and_an_algorithm() -> None:
    folders = [folder for folder, _ in commands()]
    assert folders == ["examples/own_network", "examples/protonet"]


@pytest.mark.parametrize(("folder", "command"), commands())
def test_a_command_of_the_readme_runs(
    folder: str,
    command: str,
    maml_train: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT / folder)
    words = shlex.split(command)[1:]
    chosen = [word for word in words if not word.startswith("dataset=")]
    done = maml_train(*chosen, *SHORT, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "table.md").is_file()


@pytest.mark.parametrize("file", LINES)
def test_an_example_is_short(file: str) -> None:
    lines = (EXAMPLES / file).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LINES[file]


def test_the_example_of_an_algorithm_keeps_the_contract() -> None:
    use_module_paths([str(EXAMPLES / "protonet")])
    import protonet

    check_algorithm(
        lambda network, source: protonet.ProtoNetLearner(network, source.objective, 0.001),
        bn_stats=("batch", "support", "support_and_query", "running"),
    )


@pytest.mark.parametrize("problem", [classification(), regression()], ids=["images", "curves"])
def test_the_example_of_a_sampling_algorithm_keeps_the_contract(problem: Problem) -> None:
    use_module_paths([str(EXAMPLES / "bayesian_maml")])
    import bayesian_maml

    own = bayesian_maml.BayesianMAML(
        name="bayesian_maml", inner_steps=2, inner_lr=0.05, samples=2, kl_weight=0.1
    )
    train = SimpleNamespace(outer_lr=0.001)
    check_algorithm(lambda network, source: own.build(network, source, train), problem)


def test_the_command_of_the_sampling_algorithm_runs(
    maml_train: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES / "bayesian_maml")
    words = ("--config-dir", "conf", "algo=bayesian_maml", *SHORT)
    done = maml_train(*words, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "table.md").is_file()
