"""Results of a run, made up, for tests of what shows and reports them."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

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
        single=course({2: (0.88, 0.01)}),
    ),
    validation=Validation(mean=0.85, best_epoch=3),
    iterations=50_000,
    iterations_skipped=0,
    seconds_per_iteration=0.6,
)
"""MAML on Omniglot, 5-way 1-shot."""
