"""Run folders as maml-train leaves them, as small as the report needs them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

MAML: dict[str, bool | str] = {
    **dict.fromkeys(("msl", "da", "bnrs", "bnwb", "lslr", "ca", "rate_per_weight"), False),
    "second_order": True,
    "adapts": "body and head",
}
SIX = dict.fromkeys(("msl", "da", "bnrs", "bnwb", "lslr", "ca"), True)

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes the folder of a finished Omniglot run and returns it."""

    def make(
        name: str,
        mean: float = 0.9,
        *,
        ci95: float = 0.01,
        switches: dict[str, Any] | None = None,
        scores: list[float] | None = None,
        config: dict[str, Any] | None = None,
        **facts: Any,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        results: dict[str, Any] = {
            "algo": "maml", "dataset": "omniglot", "ways": 5, "shots": 1, "queries": 1,
            "train_ways": facts.get("ways", 5), "train_shots": 1, "train_queries": 1, "seed": 0,
            "toggles": MAML | (switches or {}), "metric": "accuracy", "device": "cpu",
            "backbone": "conv4", "tasks_per_batch": 8, "remarks": [], "command": "maml-train",
            "cpu": "a processor (2 cores)", "inner_steps": 2, "bn_stats": "batch",
            "test": {"mean": mean, "ci95": ci95, "episodes": 600, "ensemble": 5},
            "test_single": {"mean": mean - 0.02, "ci95": ci95, "episodes": 600},
            "test_per_step": {"steps": [0, 1, 2], "mean": [0.2, 0.8, mean], "ci95": [0, 0.1, ci95]},
            "iterations": 50_000, "seconds_per_iteration": 0.6,
        }  # fmt: skip
        results |= facts
        (folder / "results.json").write_text(json.dumps(results))
        settings = {"seed": results["seed"], "algo": {"name": results["algo"], "inner_lr": 0.1}}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings | (config or {})))
        if scores is not None:
            content = {"ensemble": scores, "single": scores}
            (folder / "test_scores.json").write_text(json.dumps(content))
        return folder

    return make


@pytest.fixture
def sinusoid(make_run: MakeRun) -> Path:
    """A run of MAML on the sinusoid, trained with 10 points and tested with 5."""
    steps = list(range(11))
    means = [3.0, 0.7, *[0.5] * 3, 0.4, *[0.36] * 5]
    course = {"steps": steps, "mean": means, "ci95": [0.05] * 11}
    test = course | {"episodes": 600}
    return make_run(
        "sinusoid", dataset="sinusoid", ways=1, shots=5, train_shots=10, metric="mse",
        backbone="mlp", bn_stats=None, tasks_per_batch=25, iterations=70_000, inner_steps=10,
        test=test | {"ensemble": 1}, test_single=test, test_per_step=course,
        config={"train_shots": 10},
    )  # fmt: skip
