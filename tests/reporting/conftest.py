from dataclasses import replace

import numpy as np
import pytest
from results import CPU, OMNIGLOT, changed, course

from maml_cli.core.metric import MSE
from maml_cli.core.records import Curves, EpochRecord, IterationRecord, RunInfo
from maml_cli.core.stats import Estimate

MAMLPP = {
    "algo": "mamlpp",
    "queries": 2,
    "train_queries": 2,
    "seed": 7,
    "toggles": {"msl": True, "ca": False, "order": "2 from epoch 3"},
    "command": "maml-train algo=mamlpp dataset=omniglot",
}
SINUSOID = {
    "algo": "maml",
    "dataset": "sinusoid",
    "ways": 1,
    "train_ways": 1,
    "shots": 10,
    "train_shots": 10,
    "metric": MSE,
    "own_steps": 1,
}


@pytest.fixture
def info(tmp_path):
    return RunInfo(
        protocol=changed(OMNIGLOT, **MAMLPP, remarks=("960 of 964 characters",)).protocol,
        environment=replace(CPU, threads=2, engine="threads"),
        epochs=2,
        iterations_per_epoch=10,
        notes=(),
        start_iteration=0,
        start_epoch=0,
        output_dir=tmp_path,
        hparams={"algo.msl": True, "train.outer_lr": 0.001, "ways": 5, "algo": "mamlpp"},
    )


@pytest.fixture
def regression(info):
    return replace(info, protocol=replace(info.protocol, **SINUSOID, remarks=()))


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
    return changed(
        OMNIGLOT,
        **MAMLPP,
        iterations=2000,
        ensemble=course({0: (0.2, 0.001), 2: (0.9765, 0.0031)}),
        single=course({2: (0.96, 0.005)}),
    )


@pytest.fixture
def regression_results(results):
    return changed(
        results,
        **SINUSOID,
        bn_stats=None,
        ensemble=course({0: (3.5, 0.25), 1: (0.04321, 0.0012)}),
        ensemble_size=1,
        single=course({0: (3.75, 0.5), 1: (12345.6, 678.0)}),
    )


@pytest.fixture
def curves():
    """Two tasks, three grid points, two inner steps; the last fit is exact."""
    truth = np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]])
    predictions = np.stack([truth + 2, truth + 1, truth])
    return Curves(
        x=np.array([[-1.0, 0.0, 1.0]] * 2),
        truth=truth,
        predictions=predictions,
        support_x=np.array([[0.5], [-0.5]]),
        support_y=np.array([[1.5], [3.0]]),
        samples=predictions[-1:],
        bands=None,
    )
