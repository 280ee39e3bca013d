"""Batch-norm statistics at the test of a trained network: a toy does not show what fails there."""

import json

import pytest

from maml_cli.commands.evaluate import main as maml_eval
from maml_cli.commands.train import main as maml_train

RUN = (
    *("algo=mamlpp", "dataset=glyphs", "ways=5", "shots=1", "queries=5", "backbone.filters=8"),
    *("algo.inner_steps=3", "train.epochs=2", "train.iterations_per_epoch=60"),
    *("train.tasks_per_batch=4", "train.bn_stats=running"),
    *("eval.val_episodes=20", "eval.test_episodes=40", "eval.ensemble=1"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert maml_train([*RUN, f"hydra.run.dir={folder}/run"]) == 0
    return folder


@pytest.fixture
def accuracies(trained, tmp_path):
    """Mean accuracy over the test episodes after each inner step."""

    def found(bn_stats):
        arguments = [f"run={trained}/run", f"output={tmp_path / bn_stats}"]
        assert maml_eval([*arguments, f"eval.bn_stats={bn_stats}"]) == 0
        results = json.loads((tmp_path / bn_stats / "results.json").read_text())
        return results["test_per_step"]["mean"]

    return found


def test_running_statistics_of_a_trained_network_hold(accuracies):
    """They fell to chance after a few inner steps when they were averages of layer outputs."""
    support, running = accuracies("support"), accuracies("running")
    assert support[-1] > 0.3  # chance is 0.2
    assert running[-1] > max(0.3, support[-1] - 0.1)
    assert running[-1] > running[0]
