"""The examples run as they stand, and stay as short as the documents say."""

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Outcome
from problems import RUN, TRAIN

from maml_cli.config.module_path import use_module_paths
from maml_cli.data.sampler import SPLITS
from maml_cli.inner.update_rules import InnerStep
from maml_cli.testing import ENGINES, Problem, check_algorithm, classification, regression

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
    "csv_curves/csv_curves.py": 75,
    "learned_optimizer/learned_optimizer.py": 140,
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
    own = Path(folder).name  # and not one of the program's with the same name
    assert f": {own}." in (tmp_path / "run" / "config.yaml").read_text()


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
    few = {name: make for name, make in ENGINES.items() if name in ("threads", "vmap")}
    check_algorithm(lambda network, source: own.build(network, source, train), problem, engines=few)


def test_the_command_of_the_sampling_algorithm_runs(
    maml_train: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES / "bayesian_maml")
    words = ("--config-dir", "conf", "algo=bayesian_maml", *SHORT)
    done = maml_train(*words, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "table.md").is_file()


CURVES = EXAMPLES / "csv_curves"
CURVES_RUN = ("--config-dir", "conf", "algo=maml", *SHORT[:-1], "dataset=csv_curves")


def test_the_example_of_a_data_set_runs_and_draws_its_curves(
    maml_train: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CURVES)
    done = maml_train(*CURVES_RUN, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "table.md").is_file()
    assert (tmp_path / "run" / "curves.png").is_file()


def curves_text(tasks: int, points: int) -> str:
    """A CSV file of lines."""
    rows = [f"{task},{x},{task + x}" for task in range(tasks) for x in range(points)]
    return "\n".join(["task,x,y", *rows])


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (None, 3, "No such file"),
        ("task,x\na,1\n", 3, "no column 'y'"),
        ("task,x,y\na,1,high\n", 3, "'high'"),
        (curves_text(4, 20), 3, "4 tasks, 5 are needed"),
        (curves_text(5, 19), 2, "task 0 has 19 points, shots + queries need 20"),
    ],
    ids=["missing file", "missing column", "no number", "too few tasks", "too few points"],
)
def test_the_example_of_a_data_set_refuses_other_files(
    text: str | None,
    code: int,
    message: str,
    maml_train: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "file.csv"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(CURVES)
    run_dir = f"hydra.run.dir={tmp_path / 'run'}"
    done = maml_train(*CURVES_RUN, f"dataset.path={file}", run_dir)
    assert done.code == code
    assert len(done.errors) == 1
    assert message in done.errors[0]


def test_an_episode_of_the_example_is_one_task_in_any_batch_with_no_point_twice() -> None:
    use_module_paths([str(CURVES)])
    import csv_curves

    root = replace(RUN, ways=1, shots=10, queries=10)
    tasks = csv_curves.CsvCurves(name="csv_curves", path=str(CURVES / "curves.csv"))
    source = tasks.load(root, torch.device("cpu"))
    for split in SPLITS:
        batch = source.episodes(split, 3, 4)
        alone = source.episodes(split, 5, 1)
        assert all(torch.equal(many[2], one[0]) for many, one in zip(batch, alone, strict=True))
        x = torch.cat([alone.support_x, alone.query_x], dim=1).flatten()
        y = torch.cat([alone.support_y, alone.query_y], dim=1).flatten()
        drawn = set(zip(x.tolist(), y.tolist(), strict=True))
        assert len(drawn) == 20
        assert sum(drawn <= {tuple(p) for p in t.tolist()} for t in source.tasks[split]) == 1


OWN_NORMS = """
from torch import nn


class Centre(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class Net(nn.Module):
    def __init__(self, norm):
        super().__init__()
        norms = {"group": nn.GroupNorm(2, 8), "centre": Centre()}
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, stride=4), norms[norm], nn.Flatten())
        self.out = nn.Linear(8 * 7 * 7, 10)

    def forward(self, x):
        return self.out(self.body(x))
"""


@pytest.mark.parametrize(("norm", "code"), [("group", 0), ("centre", 2)])
def test_a_norm_of_ones_own_is_refused_by_name_if_it_mixes_a_batch(
    norm: str, code: int, maml_train: Callable[..., Outcome], tmp_path: Path
) -> None:
    # a name of its own: a module of another folder that is known already would be taken
    (tmp_path / f"own_norms_{norm}.py").write_text(OWN_NORMS, encoding="utf-8")
    network = ("backbone=module", f"backbone.module=own_norms_{norm}.Net")
    flags = ("--module-path", str(tmp_path))
    done = maml_train(*flags, "algo=maml", *network, f"backbone.arguments={{norm: {norm}}}", *SHORT)
    assert done.code == code, done.err
    if code:
        assert "layer body.1 mixes the examples of a batch" in done.errors[0]


@pytest.mark.parametrize("dataset", ["sinusoid", "glyphs"])
def test_the_learned_optimizer_runs(
    dataset: str, maml_train: Callable[..., Outcome], tmp_path: Path
) -> None:
    folder = EXAMPLES / "learned_optimizer"
    where = ("--config-dir", str(folder / "conf"), "--module-path", str(folder))
    short = (*SHORT[:-1], f"dataset={dataset}", f"hydra.run.dir={tmp_path / 'run'}")
    done = maml_train(*where, "algo=learned_optimizer", *short)
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "table.md").is_file()


def learned_optimizer() -> ModuleType:
    use_module_paths([str(EXAMPLES / "learned_optimizer")])
    return import_module("learned_optimizer")


@pytest.mark.parametrize(
    ("problem", "recompute"),
    [(classification(), False), (regression(), True)],
    ids=["images", "sinusoid, recomputed"],
)
def test_the_learned_optimizer_keeps_the_contract(problem: Problem, recompute: bool) -> None:
    made = learned_optimizer().LearnedOptimizer(
        name="mine", inner_steps=3, scale=0.1, adapts=["body", "head"], recompute=recompute
    )
    check_algorithm(lambda network, source: made.build(network, source, TRAIN), problem)


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [
        (1.0, (0.0, 1.0)),
        (math.e, (0.1, 1.0)),
        (-0.01, (-0.460517, -1.0)),
        (1e-6, (-1.0, 0.022026)),
        (0.0, (-1.0, 0.0)),
    ],
)
def test_the_learned_optimizer_sees_size_and_sign(
    gradient: float, expected: tuple[float, float]
) -> None:
    found = learned_optimizer().preprocessed(torch.tensor([gradient], dtype=torch.float64))
    assert found.shape == (1, 2)
    assert found[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_zero_output_layer_never_moves() -> None:
    rule = learned_optimizer().LSTMRule(scale=0.1)
    start = {"w": torch.tensor([[1.0, -2.0, 3.0]]), "b": torch.tensor(0.5)}
    learned = rule.init(start, torch.Generator().manual_seed(0))
    zero = learned | {n: torch.zeros_like(learned[n]) for n in ("output", "output_bias")}
    phi, memory = start, rule.memory(start)
    for number in range(3):
        gradient = {n: p.cos() for n, p in phi.items()}
        at = InnerStep(number, torch.tensor(0.0), torch.tensor(0), 1)
        phi, memory = rule.step(zero, memory, phi, gradient, at)
    assert all(torch.equal(phi[n], p) for n, p in start.items())
    assert memory["hidden"]["w"].abs().min() > 0


def test_the_step_of_the_learned_optimizer_is_that_of_torchs_lstm_cell() -> None:
    rule = learned_optimizer().LSTMRule(scale=0.1)
    phi = {"w": torch.tensor([[1.0, -2.0], [0.5, 4.0]])}
    learned = rule.init(phi, torch.Generator().manual_seed(0))
    order = [0, 1, 3, 2]  # torch has input, forget, candidate, output
    cell = torch.nn.LSTMCell(2, 20)
    with torch.no_grad():
        for ours, theirs in (("of_input", "weight_ih"), ("of_hidden", "weight_hh")):
            blocks = learned[ours].T.split(20)
            getattr(cell, theirs).copy_(torch.cat([blocks[i] for i in order]))
        blocks = learned["gates"].split(20)
        cell.bias_ih.copy_(torch.cat([blocks[i] for i in order]))
        cell.bias_hh.zero_()
        memory, state, expected = rule.memory(phi), None, phi["w"]
        for number, gradient in enumerate([torch.tensor([[0.3, -1.0], [1e-6, 0.0]])] * 3):
            at = InnerStep(number, torch.tensor(0.0), torch.tensor(0), 1)
            phi, memory = rule.step(learned, memory, phi, {"w": gradient * 2**number}, at)
            seen = learned_optimizer().preprocessed(gradient.flatten() * 2**number)
            state = cell(seen, state)
            move = state[0] @ learned["output"] + learned["output_bias"]
            expected = expected + 0.1 * move.reshape(2, 2)
    assert torch.allclose(phi["w"], expected, atol=1e-6)
    assert not torch.allclose(phi["w"], torch.tensor([[1.0, -2.0], [0.5, 4.0]]))


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "notebook" / "use.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    variables: dict[str, Any] = {}
    for cell in cells:
        exec(cell, variables)  # noqa: S102 -- our own notebook
    right = [support.stem for support in variables["support"]]
    found = [right[n] for n in variables["probabilities"].argmax(1).tolist()]
    assert sum(f == query.stem for f, query in zip(found, variables["queries"], strict=True)) >= 4
    assert (tmp_path / "adapted.pt").is_file()
