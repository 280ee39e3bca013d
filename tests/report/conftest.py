"""Run folders as maml-train leaves them, as small as the report needs them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from results import EPISODES, OMNIGLOT, changed, course

from maml_cli.core.metric import MSE
from maml_cli.storage.run_folder import RunFolder

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
        inner_steps: int = 2,
        scores: list[float] | None = None,
        config: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Path:
        """`changes` are fields of RunResults, or of its parts; `scores` decide the mean."""
        episodes = EPISODES if scores is None else len(scores)
        mean = mean if scores is None else sum(scores) / episodes
        single = mean - 0.02 if scores is None else mean
        estimates = {0: (0.2, 0.0), 1: (0.8, 0.1), inner_steps: (mean, ci95)}
        tested = {
            "toggles": MAML | (switches or {}),
            "train_ways": changes.get("ways", 5),
            "ensemble": course(estimates, episodes),
            "single": course({inner_steps: (single, ci95)}, episodes),
        }
        results = changed(OMNIGLOT, **(tested | changes))
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir(parents=True)
        folder.results.write_text(results.to_json())
        protocol = results.protocol
        settings = {"seed": protocol.seed, "algo": {"name": protocol.algo, "inner_lr": 0.1}}
        folder.config.write_text(yaml.safe_dump(settings | (config or {})))
        if scores is not None:
            folder.scores.write_text(json.dumps({"ensemble": scores, "single": scores}))
        return folder.path

    return make


@pytest.fixture
def sinusoid(make_run: MakeRun) -> Path:
    """A run of MAML on the sinusoid, trained with 10 points and tested with 5."""
    means = [3.0, 0.7, *[0.5] * 3, 0.4, *[0.36] * 5]
    errors = course({step: (mean, 0.05) for step, mean in enumerate(means)})
    return make_run(
        "sinusoid", dataset="sinusoid", ways=1, shots=5, train_shots=10, metric=MSE,
        backbone="mlp", bn_stats=None, tasks_per_batch=25, iterations=70_000,
        ensemble=errors, ensemble_size=1, single=errors, config={"train_shots": 10},
    )  # fmt: skip
