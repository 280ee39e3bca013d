"""Losses and meta-gradients that are not finite: no update is made from them."""

from dataclasses import replace

import pytest
import torch
from faults.processes import outcome

from maml_cli.core.algorithm import flat, nested
from maml_cli.engines.recorded import Recorded
from maml_cli.storage.checkpoint import read


def with_fault(monkeypatch, iterations, what, value):
    """Put a value into the loss or the meta-gradient of these iterations (from 0)."""
    real, injected = Recorded.meta_gradient, []

    def meta_gradient(self, params, episodes, progress):
        step = real(self, params, episodes, progress)
        if progress.iteration not in iterations:
            return step
        injected.append(progress.iteration)
        if what == "loss":
            return replace(step, loss=torch.tensor(value))
        gradient = flat(step.gradient)
        name = next(iter(gradient))
        gradient[name] = gradient[name] + value
        return replace(step, gradient=nested(gradient))

    monkeypatch.setattr(Recorded, "meta_gradient", meta_gradient)
    return injected


FAULTS = [("loss", float("nan")), ("loss", float("inf")), ("gradient", float("inf"))]
ITERATIONS = (0, 30, 51)
"""The first, one in the middle, the last."""
ALL = [(*fault, iteration) for fault in FAULTS for iteration in ITERATIONS]
QUICK = [(*fault, iteration) for fault, iteration in zip(FAULTS, ITERATIONS, strict=True)]


@pytest.mark.parametrize(
    ("what", "value", "iteration"),
    [
        *QUICK,
        *(pytest.param(*case, marks=pytest.mark.faults_full) for case in ALL if case not in QUICK),
    ],
)
def test_what_is_not_finite_ends_the_run_before_the_update(
    tmp_path, run_to, monkeypatch, uninterrupted, iteration, what, value
):
    with monkeypatch.context() as fault:
        injected = with_fault(fault, {iteration}, what, value)
        diverged = run_to(tmp_path / "run")
    assert injected == [iteration]
    assert diverged.code == 5
    assert f"at iteration {iteration + 1} (training episodes {2 * iteration} to " in diverged.err
    kept = list((tmp_path / "run" / "checkpoints").glob("*.pt"))
    assert bool(kept) == (iteration > 0)
    for path in kept:
        assert all(t.isfinite().all() for t in read(path)["theta"].values())
    assert run_to(tmp_path / "run").code == 0
    assert outcome(tmp_path / "run") == uninterrupted


def test_what_is_not_finite_can_be_passed_over(tmp_path, run_to, monkeypatch):
    injected = with_fault(monkeypatch, {3, 4, 30}, "gradient", float("nan"))
    assert run_to(tmp_path / "run", "train.on_nonfinite=skip").code == 0
    assert injected == [3, 4, 30]
    content = read(tmp_path / "run" / "checkpoints" / "epoch-0004.pt")
    assert content["skipped"] == 3
    assert all(t.isfinite().all() for t in content["theta"].values())


def test_passing_over_has_a_limit(tmp_path, run_to, monkeypatch):
    monkeypatch.setattr("maml_cli.training.loop.SKIP_LIMIT", 2)
    with_fault(monkeypatch, {3, 4, 30}, "gradient", float("nan"))
    diverged = run_to(tmp_path / "run", "train.on_nonfinite=skip")
    assert diverged.code == 5
    assert "3 iterations were passed over, 2 may be" in diverged.errors[0]
