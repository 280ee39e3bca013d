"""One run from its settings to its results: build the parts, fit, test, report."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.learner import Learner, MetaParameters
from maml_cli.core.objective import Objective
from maml_cli.core.records import Curves, RunInfo
from maml_cli.core.stats import Estimate, estimate
from maml_cli.core.types import Episode, TaskSource
from maml_cli.evaluation import evaluate
from maml_cli.inner.engines import choose_engine
from maml_cli.reporting.reporter import standard_reporter
from maml_cli.reporting.results import environment
from maml_cli.training.checkpoint import Checkpoints
from maml_cli.training.loop import Trainer

CURVES_DRAWN = 4


def run(experiment: Experiment, output_dir: Path) -> dict[str, Any]:
    """Train, validate and test; everything is written under `output_dir`; returns the results.

    Raises UsageError, DataError, DivergedError or StorageError.
    """
    settings = experiment.run
    device = choose_device(settings.device)
    source = experiment.dataset.load(settings, device)
    weights = experiment.backbone.init(source.input_shape, source.output_size, torch.Generator())
    engine = choose_engine(
        settings.engine, device, convolutional=any(w.ndim == 4 for w in weights.values())
    )
    learner = experiment.algo.build(experiment.backbone, source, experiment.train, engine)
    params = learner.init(settings.seed).to(device)
    steps = learner.steps if experiment.eval.inner_steps is None else experiment.eval.inner_steps
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "config.yaml").write_text(experiment.resolved)

    with standard_reporter() as reporter:
        info = _info(
            experiment,
            source=source,
            params=params,
            device=device,
            engine=engine.name,
            output_dir=output_dir,
        )
        first = Episode(*(field[0] for field in source.episodes("train", 0, 1)))
        reporter.start(info, first)
        score = partial(
            evaluate, learner, source=source, steps=steps, bn_stats=experiment.eval.bn_stats
        )

        def validate(params: MetaParameters) -> tuple[Estimate, ...]:
            episodes = experiment.eval.val_episodes
            scores = score(
                [params],
                split="val",
                episodes=episodes,
                on_progress=lambda done: reporter.evaluating("val", done, episodes),
            )
            return estimates(scores.single)

        checkpoints = Checkpoints(
            output_dir / "checkpoints",
            keep=experiment.eval.ensemble,
            higher_is_better=source.objective.higher_is_better,
        )
        trainer = Trainer(
            learner=learner,
            source=source,
            settings=experiment.train,
            checkpoints=checkpoints,
            reporter=reporter,
            validate=validate,
        )
        trainer.fit(params)

        candidates = [checkpoints.load(epoch, device) for epoch in checkpoints.best()]
        episodes = experiment.eval.test_episodes
        scores = score(
            candidates,
            split="test",
            episodes=episodes,
            on_progress=lambda done: reporter.evaluating("test", done, episodes),
        )
        iterations = experiment.train.epochs * experiment.train.iterations_per_epoch
        results = _facts(experiment, info) | {
            "inner_steps": steps,
            "bn_stats": experiment.eval.bn_stats if any(".norm." in w for w in weights) else None,
            "test": summary(source.objective, scores.ensemble) | {"ensemble": len(candidates)},
            "test_single": summary(source.objective, scores.single),
            "test_per_step": course(scores.ensemble),
            "val": checkpoints.summary(),
            "iterations": iterations,
            "seconds_per_iteration": trainer.seconds / iterations,
        }
        reporter.finish(results, _curves(learner, candidates, source, experiment, steps))
    return results


def choose_device(name: str) -> torch.device:
    """The named device; `auto` is cuda where there is one. Raises UsageError."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("device=cuda, but torch finds no usable GPU: choose device=cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def estimates(scores: Tensor) -> tuple[Estimate, ...]:
    """The mean over episodes after each inner step, from `(episodes, steps + 1)`."""
    return tuple(estimate(column) for column in scores.unbind(1))


def course(scores: Tensor) -> dict[str, Any]:
    """The mean and its interval after each inner step, as lists."""
    per_step = estimates(scores)
    return {
        "steps": list(range(len(per_step))),
        "mean": [e.mean for e in per_step],
        "ci95": [e.ci95 for e in per_step],
    }


def summary(objective: Objective, scores: Tensor) -> dict[str, Any]:
    """What is reported: the metric after the last step, or after each (`Objective.per_step`)."""
    if objective.per_step:
        return course(scores) | {"episodes": len(scores)}
    last = estimates(scores)[-1]
    return {"mean": last.mean, "ci95": last.ci95, "episodes": last.n}


def _info(
    experiment: Experiment,
    *,
    source: TaskSource,
    params: MetaParameters,
    device: torch.device,
    engine: str,
    output_dir: Path,
) -> RunInfo:
    run, train = experiment.run, experiment.train
    return RunInfo(
        algo=experiment.algo.name,
        dataset=experiment.dataset.name,
        ways=run.ways,
        shots=run.shots,
        queries=run.queries,
        seed=run.seed,
        toggles=experiment.algo.toggles(),
        metric=source.objective.metric_name,
        higher_is_better=source.objective.higher_is_better,
        epochs=train.epochs,
        iterations_per_epoch=train.iterations_per_epoch,
        tasks_per_batch=train.tasks_per_batch,
        device=_device_name(device),
        threads=torch.get_num_threads(),
        engine=engine,
        parameters=sum(t.numel() for t in params.theta.values()),
        remarks=source.remarks,
        output_dir=output_dir,
        command=experiment.command,
        hparams=_flat(yaml.safe_load(experiment.resolved)),
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested configuration as `group.key` to scalar; lists as text."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, int | float) else str(value)
    return flat


def _facts(experiment: Experiment, info: RunInfo) -> dict[str, Any]:
    """Those entries of the results that training does not change."""
    named = ("algo", "dataset", "ways", "shots", "queries", "seed", "toggles", "metric", "device")
    return {
        **{name: getattr(info, name) for name in named},
        "backbone": experiment.backbone.name,
        "tasks_per_batch": info.tasks_per_batch,
        "parameters": info.parameters,
        "engine": info.engine,
        "remarks": list(info.remarks),
        "command": info.command,
        **environment(),
    }


def _curves(
    learner: Learner,
    candidates: list[MetaParameters],
    source: TaskSource,
    experiment: Experiment,
    steps: int,
) -> Curves | None:
    """Predictions of the best candidate on a grid, for data that can be drawn."""
    episodes = source.curve_episodes(CURVES_DRAWN)
    if episodes is None:
        return None
    outputs = learner.predict(candidates[0], episodes, steps, experiment.eval.bn_stats)
    arrays = [t.squeeze(-1).cpu().numpy() for t in (*episodes, outputs.transpose(0, 1))]
    support_x, support_y, x, truth, predictions = arrays
    return Curves(
        x=x[0], truth=truth, predictions=predictions, support_x=support_x, support_y=support_y
    )
