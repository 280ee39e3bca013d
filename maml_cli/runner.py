"""One run from its settings to its results: build the parts, fit, test, report."""

from pathlib import Path
from typing import Any

import torch

from maml_cli.assembly import assemble, choose_device
from maml_cli.core.errors import CheckpointError, Interrupted, UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.files import locked, write_atomically
from maml_cli.core.learner import MetaParameters
from maml_cli.core.stats import Estimate
from maml_cli.core.types import Episode
from maml_cli.evaluation import estimates
from maml_cli.reporting.reporter import standard_reporter
from maml_cli.training.checkpoint import Checkpoints, Found
from maml_cli.training.loop import Trainer
from maml_cli.training.resume import other_machine, require_same_config
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
    device = choose_device(experiment.run.device)
    source = experiment.dataset.load(experiment.run, device)
    checkpoints = Checkpoints(
        output_dir / "checkpoints",
        keep=experiment.eval.ensemble,
        higher_is_better=source.objective.higher_is_better,
    )
    found = _found(checkpoints, experiment, output_dir)
    if found is not None:
        torch.set_num_threads(found.content["machine"]["threads"])  # sums depend on their number
    parts = assemble(experiment, source, device)
    learner = parts.learner
    params = learner.init(experiment.run.seed).to(device)
    state = RunState(params=params, optimizer=learner.optimizer(list(params.theta.values())))
    notes: list[str] = []
    checkpoints.tidy(found)
    if found is not None:
        state.restore(found.content)
        notes = [
            *found.problems,
            *other_machine(found.content["machine"], parts.machine),
            f"goes on after iteration {state.iteration} from {found.path}",
        ]
    write_atomically(output_dir / "config.yaml", experiment.resolved)

    with standard_reporter() as reporter:
        facts = parts.facts(state.params)
        first = Episode(*(field[0] for field in source.episodes("train", 0, 1)))
        info = parts.info(
            facts, iteration=state.iteration, epoch=state.epoch, notes=notes, output_dir=output_dir
        )
        reporter.start(info, first)

        def validate(params: MetaParameters) -> tuple[Estimate, ...]:
            episodes = experiment.eval.val_episodes
            return estimates(parts.scores([params], "val", episodes, reporter.evaluating).single)

        trainer = Trainer(
            learner=learner,
            source=source,
            settings=experiment.train,
            checkpoints=checkpoints,
            facts={"config": experiment.resolved, "machine": parts.machine},
            reporter=reporter,
            stop=stop,
            validate=validate,
        )
        trainer.fit(state)

        candidates = [checkpoints.load(epoch, device) for epoch in checkpoints.best(state.scores)]
        with stop.interruptible():
            scores = parts.scores(
                candidates, "test", experiment.eval.test_episodes, reporter.evaluating
            )
        results = {
            **facts,
            **parts.tested(scores, len(candidates)),
            "val": checkpoints.summary(state.scores),
            "iterations": state.iteration,
            "iterations_skipped": state.skipped,
            "seconds_per_iteration": state.seconds / state.iteration,
        }
        reporter.finish(results, parts.curves(candidates[0]))
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
