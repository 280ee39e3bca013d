from dataclasses import replace

import numpy as np
import pytest

from maml_cli.core.records import Curves, EpochRecord, IterationRecord, RunInfo
from maml_cli.core.stats import Estimate


@pytest.fixture
def info(tmp_path):
    return RunInfo(
        algo="mamlpp",
        dataset="omniglot",
        ways=5,
        shots=1,
        queries=2,
        seed=7,
        toggles={"msl": True, "ca": False, "order": "2 from epoch 3"},
        metric="accuracy",
        higher_is_better=True,
        epochs=2,
        iterations_per_epoch=10,
        tasks_per_batch=8,
        device="cpu",
        threads=2,
        engine="threads",
        parameters=112345,
        remarks=("960 of 964 characters",),
        notes=(),
        start_iteration=0,
        start_epoch=0,
        output_dir=tmp_path,
        command="maml-train algo=mamlpp dataset=omniglot",
        hparams={"algo.msl": True, "train.outer_lr": 0.001, "ways": 5, "algo": "mamlpp"},
    )


@pytest.fixture
def regression(info):
    return replace(
        info, algo="maml", dataset="sinusoid", ways=1, shots=10, metric="mse", remarks=()
    )


@pytest.fixture
def iteration_record():
    return IterationRecord(
        iteration=10,
        epoch=0,
        loss=0.5,
        metric=0.875,
        query_losses={1: 0.75, 2: 0.25},
        query_metrics={1: 0.5, 2: 0.875},
        outer_lr=0.001,
        iterations_per_second=4.0,
    )


@pytest.fixture
def epoch_record():
    return EpochRecord(
        epoch=0,
        iteration=10,
        val={
            0: Estimate(0.2, 0.01, 600),
            1: Estimate(0.625, 0.02, 600),
            2: Estimate(0.9765, 0.0031, 600),
        },
        best=True,
        inner_rates={"head.weight": (0.25, -0.125)},
        phase={"order": 2, "step_weights": (0.375, 0.625)},
    )


@pytest.fixture
def results():
    return {
        "algo": "mamlpp",
        "dataset": "omniglot",
        "ways": 5,
        "shots": 1,
        "queries": 2,
        "train_shots": 1,
        "train_queries": 2,
        "seed": 7,
        "metric": "accuracy",
        "inner_steps": 2,
        "bn_stats": "batch",
        "tasks_per_batch": 8,
        "iterations": 2000,
        "remarks": [],
        "test": {"mean": 0.9765, "ci95": 0.0031, "episodes": 600, "ensemble": 5},
        "test_single": {"mean": 0.96, "ci95": 0.005, "episodes": 600},
        "test_per_step": {"steps": [0, 1], "mean": [0.2, 0.9765], "ci95": [0.001, 0.0031]},
    }


@pytest.fixture
def regression_results(results):
    course = {"steps": [0, 1], "mean": [3.5, 0.04321], "ci95": [0.25, 0.0012]}
    single = {"steps": [0, 1], "mean": [3.75, 12345.6], "ci95": [0.5, 678.0]}
    return results | {
        "algo": "maml",
        "dataset": "sinusoid",
        "ways": 1,
        "shots": 10,
        "train_shots": 10,
        "metric": "mse",
        "inner_steps": 1,
        "bn_stats": None,
        "test": course | {"episodes": 600, "ensemble": 1},
        "test_single": single | {"episodes": 600},
        "test_per_step": course,
    }


@pytest.fixture
def curves():
    """Two tasks, three grid points, two inner steps; the last fit is exact."""
    truth = np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]])
    predictions = np.stack([truth + 2, truth + 1, truth])
    return Curves(
        x=np.array([-1.0, 0.0, 1.0]),
        truth=truth,
        predictions=predictions,
        support_x=np.array([[0.5], [-0.5]]),
        support_y=np.array([[1.5], [3.0]]),
    )
