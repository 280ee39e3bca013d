"""`train.patience`: training ends after epochs without a better validation."""

import json

import pytest
import torch

import maml_cli.runs.assembly
from maml_cli.commands.evaluate import main as maml_eval

RUN = (
    *("algo=scratch", "dataset=sinusoid", "train.epochs=9", "train.iterations_per_epoch=2"),
    *("train.tasks_per_batch=1", "eval.val_episodes=2", "eval.test_episodes=2", "eval.ensemble=1"),
)
VALIDATION = (5.0, 3.0, 4.0, 3.0, 6.0, 2.0)  # errors; the lowest of the first five is the second


@pytest.fixture
def validations(monkeypatch):
    """Have the validations find the errors above, one after the other."""
    real, found = maml_cli.runs.assembly.evaluate, iter(VALIDATION)

    def evaluate(*arguments, **options):
        scores = real(*arguments, **options)
        if options["split"] == "test":
            return scores
        return scores._replace(single=torch.full_like(scores.single, next(found, 9.0)))

    monkeypatch.setattr(maml_cli.runs.assembly, "evaluate", evaluate)


@pytest.mark.usefixtures("validations")
def test_training_ends_after_epochs_without_a_better_validation(maml_train, tmp_path):
    folder = tmp_path / "run"
    words = (*RUN, "train.patience=3", f"hydra.run.dir={folder}")
    assert maml_train(*words).code == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["iterations"] == 5 * 2  # epochs 3, 4 and 5 are no better than the second
    assert results["val"]["best_epoch"] == 2
    (remark,) = (r for r in results["remarks"] if "train.patience=3" in r)
    assert "after epoch 5 of 9, because 3 epochs brought no better validation" in remark
    assert remark in (folder / "table.md").read_text()
    assert maml_eval([f"run={folder}", f"output={tmp_path / 'again'}"]) == 0
    assert remark in json.loads((tmp_path / "again" / "results.json").read_text())["remarks"]


@pytest.mark.usefixtures("validations")
def test_without_patience_all_epochs_are_trained(maml_train, tmp_path):
    assert maml_train(*RUN, f"hydra.run.dir={tmp_path / 'run'}").code == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["iterations"] == 9 * 2
    assert not any("ended" in remark for remark in results["remarks"])


@pytest.mark.usefixtures("validations")
def test_a_run_that_patience_ended_needs_more_of_it_to_go_on(maml_train, tmp_path):
    folder = tmp_path / "run"
    assert maml_train(*RUN, "train.patience=3", f"hydra.run.dir={folder}").code == 0
    refused = maml_train(f"resume={folder}", "train.epochs=12")
    assert refused.code == 2
    assert "ended after epoch 5 by train.patience=3" in refused.err
    assert "add a larger train.patience, or train.patience=null" in refused.err
    assert maml_train(f"resume={folder}", "train.patience=2").code == 4  # it has had more
    assert maml_train(f"resume={folder}", "train.patience=null").code == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["iterations"] == 9 * 2
    assert "trained for 5 epochs, and then on to 9" in results["remarks"]
    assert results["command"].endswith(" train.patience=null")
    before = json.loads((folder / "results-5-epochs.json").read_text())
    assert before["iterations"] == 5 * 2
    assert (folder / "curves-5-epochs.png").exists()
