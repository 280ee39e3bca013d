"""Results of a run, made up, for tests of what shows and reports them."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from maml_cli.core.calibration import Calibration, Reading, Reliability
from maml_cli.core.metric import ACCURACY
from maml_cli.core.results import (
    Course,
    Environment,
    EvaluationResult,
    Protocol,
    RunResults,
    Validation,
)
from maml_cli.core.stats import Estimate

EPISODES = 600
PARTS = ("protocol", "environment", "test", "validation")


def course(means: Mapping[int, tuple[float, float]], episodes: int = EPISODES) -> Course:
    """From mean and interval after each number of inner steps."""
    return Course(estimates={n: Estimate(*pair, episodes) for n, pair in means.items()})


def changed(results: RunResults, **changes: Any) -> RunResults:
    """The results with other values of fields, of their own or of their parts."""
    for name in PARTS:
        part = getattr(results, name)
        own = {f.name for f in fields(part)} & changes.keys()
        results = replace(results, **{name: replace(part, **{k: changes.pop(k) for k in own})})
    return replace(results, **changes)


CPU = Environment(
    device="cpu",
    engine="threads (1)",
    versions={"python": "3.11.7", "torchvision": None},
    platform="Linux x86_64",
    cpu="a processor (2 cores)",
    threads=1,
    git=None,
)
READING = Reading(
    scores={
        "nll": Estimate(0.25, 0.0125, EPISODES),
        "brier": Estimate(0.125, 0.01, EPISODES),
        "ece": Estimate(0.02, 0.005, EPISODES),
    },
    by_chance={"ece": 0.0125},
    reliability=Reliability(promised=(0.5, 0.9), observed=(0.75, 0.9), counts=(1000, 2000)),
)
CALIBRATED = Calibration(
    samples=10,
    parameter="temperature",
    value=1.25,
    fitted_on=500,
    raw=READING,
    fitted=replace(READING, scores={**READING.scores, "nll": Estimate(0.2, 0.01, EPISODES)}),
)
"""Of a classifier whose predictions are means of ten samples."""
BANDS = replace(
    CALIBRATED,
    samples=1,
    parameter="noise variance",
    value=0.25,
    raw=None,
    fitted=Reading(
        scores={
            "nll": Estimate(1.5, 0.25, EPISODES),
            "coverage_50": Estimate(0.5, 0.02, EPISODES),
            "coverage_90": Estimate(0.875, 0.01, EPISODES),
            "width_90": Estimate(1.644854, 0.0, EPISODES),
        },
        by_chance={},
        reliability=Reliability(promised=(0.5, 1.0), observed=(0.625, 1.0), counts=(5, 8)),
    ),
)
"""Of a regression."""
OMNIGLOT = RunResults(
    protocol=Protocol(
        algo="maml",
        dataset="omniglot",
        ways=5,
        shots=1,
        queries=1,
        train_ways=5,
        train_shots=1,
        train_queries=1,
        own_steps=2,
        seed=0,
        toggles={},
        metric=ACCURACY,
        backbone="conv4",
        tasks_per_batch=8,
        task_pool=None,
        parameters=112_345,
        remarks=(),
        command="maml-train",
    ),
    environment=CPU,
    test=EvaluationResult(
        split="test",
        bn_stats="batch",
        ensemble=course({0: (0.2, 0.0), 1: (0.8, 0.1), 2: (0.9, 0.01)}),
        ensemble_size=5,
        calibration=None,
        single=course({2: (0.88, 0.01)}),
    ),
    validation=Validation(mean=0.85, best_epoch=3),
    iterations=50_000,
    iterations_skipped=0,
    seconds_per_iteration=0.6,
)
"""MAML on Omniglot, 5-way 1-shot."""
