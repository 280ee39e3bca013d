"""PLATIPUS from the weights of another run."""

from pathlib import Path

import pytest
import torch

from maml_cli.commands.train import main
from maml_cli.config.trained import trained_experiment
from maml_cli.core.algorithm import nested
from maml_cli.core.errors import CheckpointError, UsageError
from maml_cli.core.objective import REGRESSION
from maml_cli.runs.assembly import assemble
from maml_cli.runs.trained import started

TINY = (
    *("dataset=sinusoid", "train.iterations_per_epoch=1", "train.tasks_per_batch=2"),
    *("eval.val_episodes=2", "eval.test_episodes=2", "engine=loop"),
)


@pytest.fixture(scope="module")
def maml(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "maml"
    assert main(["algo=maml", "train.epochs=2", *TINY, f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def platipus(maml) -> Path:
    folder = maml.parent / "platipus"
    few = ("algo=platipus", "algo.inner_steps=1", "algo.samples=2", "eval.inner_steps=1")
    words = [*few, f"algo.start={maml}", "train.epochs=1", "train.outer_lr=1e-6", *TINY]
    assert main([*words, f"hydra.run.dir={folder}"]) == 0
    return folder


def model(file: Path) -> dict[str, torch.Tensor]:
    return nested(torch.load(file, weights_only=True)["theta"])["model"]


def test_the_mean_is_the_best_epochs_network(maml, platipus):
    """The one update at the rate 1e-6 moves no weight further than that."""
    found = model(platipus / "checkpoints" / "epoch-0001.pt")
    content = torch.load(maml / "checkpoints" / "epoch-0002.pt", weights_only=True)
    best = min(content["scores"], key=content["scores"].get)
    expected = model(maml / "checkpoints" / f"epoch-{best + 1:04d}.pt")
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    other = model(maml / "checkpoints" / f"epoch-{2 - best:04d}.pt")
    assert (found["body.0.weight"] - other["body.0.weight"]).abs().max() > 1e-4


def test_another_network_is_refused(maml, platipus):
    experiment = trained_experiment(platipus, [], changeable=(), others=(), command="")
    cpu = torch.device("cpu")
    fresh = assemble(experiment, experiment.dataset.load(experiment.run, cpu), cpu).fresh()
    del fresh.theta["model"]["body.1.bias"]
    with pytest.raises(
        UsageError, match=r"algo\.start=.*maml: .* network: model\.body\.1\.bias is not part"
    ):
        started(fresh, maml, REGRESSION)


def test_what_another_learner_has_beside_its_network_is_left_and_said(platipus):
    experiment = trained_experiment(platipus, [], changeable=(), others=(), command="")
    cpu = torch.device("cpu")
    fresh = assemble(experiment, experiment.dataset.load(experiment.run, cpu), cpu).fresh()
    found, [remark] = started(fresh, platipus, REGRESSION)
    best = model(platipus / "checkpoints" / "epoch-0001.pt")
    torch.testing.assert_close(dict(found.theta["model"]), best, rtol=0, atol=0)
    assert found.theta["prior"] is fresh.theta["prior"]
    assert remark.startswith(f"algo.start={platipus}: its ")
    assert "prior" in remark


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no run with a finished epoch"):
        started(None, tmp_path, REGRESSION)
