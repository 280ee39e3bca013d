"""One run from its settings to its results: build the parts, fit, test, report."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from maml_cli.core.errors import CheckpointError, Interrupted, UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.files import locked, write_atomically
from maml_cli.core.learner import MetaParameters
from maml_cli.core.records import RunInfo
from maml_cli.core.stats import Estimate
from maml_cli.core.types import Episode, TaskSource
from maml_cli.evaluation import course, estimates, evaluate, fitted_curves, summary
from maml_cli.inner.engines import choose_engine
from maml_cli.reporting.reporter import standard_reporter
from maml_cli.reporting.results import environment
from maml_cli.training.checkpoint import Checkpoints, Found
from maml_cli.training.loop import Trainer
from maml_cli.training.resume import flat, other_machine, require_same_config
from maml_cli.training.signals import Stop, StopRequests
from maml_cli.training.state import RunState


def run(experiment: Experiment, output_dir: Path) -> dict[str, Any]:
    """Train, validate and test, or go on where an interrupted run stopped; returns the results.

    Everything is written under `output_dir`. Raises UsageError, DataError, CheckpointError,
    DivergedError, StorageError or Interrupted.
    """
    with StopRequests(experiment.train.max_time) as stop, locked(output_dir):
        try:
            return _run(experiment, output_dir, stop)
        except Stop as request:
            raise Interrupted(
                f"stopped by {request}; the same command with hydra.run.dir={output_dir} goes on",
                request.exit_code,
            ) from None


def _run(experiment: Experiment, output_dir: Path, stop: StopRequests) -> dict[str, Any]:
    settings = experiment.run
    device = choose_device(settings.device)
    source = experiment.dataset.load(settings, device)
    checkpoints = Checkpoints(
        output_dir / "checkpoints",
        keep=experiment.eval.ensemble,
        higher_is_better=source.objective.higher_is_better,
    )
    found = _found(checkpoints, experiment, output_dir)
    if found is not None:
        torch.set_num_threads(found.content["machine"]["threads"])  # sums depend on their number
    weights = experiment.backbone.init(source.input_shape, source.output_size, torch.Generator())
    engine = choose_engine(
        settings.engine, device, convolutional=any(w.ndim == 4 for w in weights.values())
    )
    learner = experiment.algo.build(experiment.backbone, source, experiment.train, engine)
    params = learner.init(settings.seed).to(device)
    steps = learner.steps if experiment.eval.inner_steps is None else experiment.eval.inner_steps
    state = RunState(params=params, optimizer=learner.optimizer(list(params.theta.values())))
    machine = {
        "threads": torch.get_num_threads(),
        "engine": engine.name,
        "device": _device_name(device),
        "torch": str(torch.__version__),
    }
    notes: list[str] = []
    checkpoints.tidy(found)
    if found is not None:
        state.restore(found.content)
        notes = [
            *found.problems,
            *other_machine(found.content["machine"], machine),
            f"goes on after iteration {state.iteration} from {found.path}",
        ]
    write_atomically(output_dir / "config.yaml", experiment.resolved)

    with standard_reporter() as reporter:
        info = _info(
            experiment,
            source=source,
            state=state,
            device=device,
            engine=engine.name,
            notes=notes,
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

        trainer = Trainer(
            learner=learner,
            source=source,
            settings=experiment.train,
            checkpoints=checkpoints,
            facts={"config": experiment.resolved, "machine": machine},
            reporter=reporter,
            stop=stop,
            validate=validate,
        )
        trainer.fit(state)

        candidates = [checkpoints.load(epoch, device) for epoch in checkpoints.best(state.scores)]
        episodes = experiment.eval.test_episodes
        with stop.interruptible():
            scores = score(
                candidates,
                split="test",
                episodes=episodes,
                on_progress=lambda done: reporter.evaluating("test", done, episodes),
            )
        results = _facts(experiment, info) | {
            "inner_steps": steps,
            "bn_stats": experiment.eval.bn_stats if any(".norm." in w for w in weights) else None,
            "test": summary(source.objective, scores.ensemble) | {"ensemble": len(candidates)},
            "test_single": summary(source.objective, scores.single),
            "test_per_step": course(scores.ensemble),
            "val": checkpoints.summary(state.scores),
            "iterations": state.iteration,
            "iterations_skipped": state.skipped,
            "seconds_per_iteration": state.seconds / state.iteration,
        }
        curves = fitted_curves(
            learner, candidates[0], source, steps=steps, bn_stats=experiment.eval.bn_stats
        )
        reporter.finish(results, curves)
    return results


def _found(checkpoints: Checkpoints, experiment: Experiment, output_dir: Path) -> Found | None:
    """The checkpoint to go on from, of the same configuration."""
    found, resume = checkpoints.newest(), experiment.run.resume
    if found is None:
        if resume in ("auto", "never"):
            return None
        raise CheckpointError(f"resume={resume}: no checkpoint is in {output_dir}/checkpoints")
    if resume == "never":
        raise UsageError(
            f"resume=never, but {output_dir} holds a run: choose another folder with "
            "hydra.run.dir=DIR, or resume=auto to go on with it"
        )
    require_same_config(found.content["config"], experiment.resolved, output_dir)
    return found


def choose_device(name: str) -> torch.device:
    """The named device; `auto` is cuda where there is one. Raises UsageError."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("device=cuda, but torch finds no usable GPU: choose device=cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def _info(
    experiment: Experiment,
    *,
    source: TaskSource,
    state: RunState,
    device: torch.device,
    engine: str,
    notes: Sequence[str],
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
        parameters=sum(t.numel() for t in state.params.theta.values()),
        remarks=source.remarks,
        notes=tuple(notes),
        start_iteration=state.iteration,
        start_epoch=state.epoch,
        output_dir=output_dir,
        command=experiment.command,
        hparams={
            key: value if isinstance(value, int | float) else str(value)
            for key, value in flat(yaml.safe_load(experiment.resolved)).items()
            if not key.endswith("._target_")  # the names say it already
        },
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


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
