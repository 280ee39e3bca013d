"""One run from its settings to its results: build the parts, fit, test, report."""

from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import torch

from maml_cli.core.algorithm import MetaParameters, flat
from maml_cli.core.errors import CheckpointError, UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.machine import usable_threads
from maml_cli.core.results import RunResults
from maml_cli.core.stats import Estimate
from maml_cli.data.task_pool import training_source
from maml_cli.distributed import ranks
from maml_cli.distributed.collectives import agreed, from_first, in_turn
from maml_cli.reporting.reporter import Reporter, standard_reporter
from maml_cli.runs.assembly import Assembly, assemble
from maml_cli.runs.bound_data import keep_record, load_to_train, preview
from maml_cli.runs.calibrate import tested
from maml_cli.runs.devices import choose_device, device_name
from maml_cli.runs.evaluation import estimates
from maml_cli.runs.going_on import extension, remarks_of, set_aside, way_on, with_command
from maml_cli.runs.keep import require_keepable
from maml_cli.runs.trained import budget_remarks, initialised, started
from maml_cli.storage.checkpoint import Checkpoints, Found
from maml_cli.storage.files import locked, write_atomically
from maml_cli.storage.resume import other_machine, require_same_config
from maml_cli.storage.run_folder import RunFolder
from maml_cli.storage.shared_checkpoints import SharedCheckpoints
from maml_cli.training.batches import Batches
from maml_cli.training.loop import Trainer
from maml_cli.training.signals import Stop, StopRequests
from maml_cli.training.state import RunState


def run(experiment: Experiment, output_dir: Path) -> RunResults:
    """Train, validate and test, or go on where an interrupted run stopped; returns the results.

    Everything is written under `output_dir`, by the first process if several share the run. Raises
    UsageError, DataError, CheckpointError, DivergedError, StorageError, Interrupted, OutOfTime or
    ProcessLost.
    """
    hint = f"to go on: {way_on(experiment, output_dir)}"
    with StopRequests(experiment.train.max_time, hint) as stop, ExitStack() as held:
        from_first(lambda: held.enter_context(locked(output_dir)))
        try:
            return _run(experiment, output_dir, stop)
        except Stop as request:
            raise request.error from None


def _run(experiment: Experiment, output_dir: Path, stop: StopRequests) -> RunResults:
    files = RunFolder(output_dir)
    with agreed():
        if problems := experiment.run.check_logger():
            raise UsageError(*problems)
        _require_own_config(experiment, files, output_dir)
    with agreed(), in_turn():  # the first prepares the data, the others find them prepared
        device = choose_device(experiment.run.device)
        source = load_to_train(experiment, device, files)
    checkpoints = SharedCheckpoints(
        files.checkpoints,
        keep=experiment.eval.ensemble,
        metric=source.objective.reported,
    )
    with agreed():
        found = _found(checkpoints, experiment, output_dir)
    if found is not None:
        machine = found.content["machine"]
        if machine["device"] == device_name(device):
            torch.set_num_threads(usable_threads(machine["threads"]))  # sums depend on their number
        experiment = with_command(found, experiment)
    parts = assemble(experiment, source, device)
    require_keepable(parts)
    checkpoints.tidy(found)
    state, notes, remarks = _begin(parts, found, files, checkpoints)
    notes += experiment.notes
    if ranks.size() > 1:
        notes.append(f"{ranks.size()} processes share the tasks of every batch")
    from_first(lambda: write_atomically(files.config, experiment.resolved))
    from_first(lambda: keep_record(source, files))

    with (
        standard_reporter(experiment.eval.keep or (), experiment.run.pages)
        if ranks.is_first()
        else Reporter(()) as reporter
    ):

        def evaluating(split: str, done: int, total: int) -> None:
            stop.check()
            reporter.evaluating(split, done, total)

        protocol, environment = parts.protocol(state.params), parts.environment()
        protocol = replace(protocol, remarks=(*protocol.remarks, *remarks))
        info = parts.info(
            protocol,
            environment,
            iteration=state.iteration,
            epoch=state.epoch,
            notes=notes,
            output_dir=output_dir,
        )
        reporter.start(info, preview(source))

        def validate(params: MetaParameters) -> dict[int, Estimate]:
            episodes = experiment.eval.val_episodes
            scores = parts.scores([params], "val", episodes, evaluating)
            return estimates(scores.steps, scores.single)

        trainer = Trainer(
            engine=parts.engine,
            batches=Batches(
                training_source(source, experiment.train.task_pool, experiment.run.seed),
                experiment.train.tasks_per_batch,
            ),
            settings=experiment.train,
            checkpoints=checkpoints,
            metadata={
                "config": experiment.resolved,
                "command": experiment.command,
                "machine": parts.machine,
                "remarks": remarks,
            },
            reporter=reporter,
            stop=stop,
            validate=validate,
        )
        trainer.fit(state)
        budget = budget_remarks(state.epoch, experiment.train, checkpoints, state.scores)

        candidates = [checkpoints.load(epoch, device) for epoch in checkpoints.best(state.scores)]
        with stop.interruptible():
            ended = tested(parts, candidates, "test", evaluating)
        reporter.tested(ended.episodes)
        results = RunResults(
            protocol=replace(protocol, remarks=(*protocol.remarks, *budget)),
            environment=environment,
            test=ended.evaluation,
            validation=checkpoints.validation(state.scores),
            iterations=state.iteration,
            iterations_skipped=state.skipped,
            seconds_per_iteration=state.seconds / state.iteration,
            learned=parts.engine.algorithm.remarks(candidates[0]),
        )
        reporter.finish(results, ended.curves)
    return results


def _begin(
    parts: Assembly, found: Found | None, files: RunFolder, checkpoints: Checkpoints
) -> tuple[RunState, list[str], list[str]]:
    """The run before its next iteration, what to say at its start, and what in every table."""
    experiment, algorithm = parts.experiment, parts.engine.algorithm
    objective, params = parts.source.objective, parts.fresh()
    remarks = [*remarks_of(found)]
    if found is None and algorithm.starts_from is not None:
        params, left = started(params, Path(algorithm.starts_from), objective)
        remarks += left
    if found is None and experiment.run.init_from is not None:
        params, remark = initialised(params, Path(experiment.run.init_from), objective)
        remarks.append(remark)
    params = params.to(parts.device)
    optimizer = algorithm.optimizer(list(flat(params.theta).values()))
    state = RunState(params=params, optimizer=optimizer)
    if found is None:
        return state, [], remarks
    state.restore(found.content)
    notes = [*found.problems, f"goes on after iteration {state.iteration} from {found.path}"]
    for name, (before, now) in other_machine(found.content["machine"], parts.machine).items():
        notes.append(
            f"{name} was {before}, is {now}: the run goes on, but its result need not be bit for "
            "bit that of an uninterrupted one"
        )
        if state.iteration:
            remarks.append(f"{name} {before} until iteration {state.iteration}, then {now}")
    best, state.scores = checkpoints.best(state.scores), checkpoints.present(state.scores)
    if lost := sorted(epoch + 1 for epoch in best if epoch not in state.scores):
        epochs = ", ".join(map(str, lost))
        remarks.append(f"the files of epochs {epochs}, among the best so far, were not there")
    if longer := extension(found, experiment):
        if not checkpoints.hopeful(state.scores, experiment.train.patience):
            raise UsageError(
                f"the run in {files.path} ended after epoch {state.epoch} by train.patience="
                f"{experiment.train.patience}, and more epochs do not change that: add a larger "
                "train.patience, or train.patience=null"
            )
        done = state.epoch if files.results.exists() else longer.before
        from_first(lambda: set_aside(files, done))
        if done < longer.epochs:  # not if an interrupted run is given more patience
            remarks.append(longer.remark(done))
        per_epoch = experiment.train.iterations_per_epoch
        notes += longer.notes(parts.engine, state.iteration, per_epoch)
    return state, notes, remarks


def _require_own_config(experiment: Experiment, files: RunFolder, output_dir: Path) -> None:
    """Before any data are read: other settings than the run's would be other data, too."""
    begun = experiment.run.resume != "never" and files.checkpoints.is_dir()
    if ranks.is_first() and begun and files.config.is_file():
        # the checkpoint has the configuration, too, if this file is damaged
        with suppress(OSError, ValueError):
            config = files.config.read_text(encoding="utf-8")
            require_same_config(config, experiment.resolved, output_dir)


def _found(checkpoints: Checkpoints, experiment: Experiment, output_dir: Path) -> Found | None:
    """The checkpoint to go on from, of the same configuration."""
    found, resume, files = checkpoints.newest(), experiment.run.resume, RunFolder(output_dir)
    if found is None:
        if resume in ("auto", "never"):
            return None
        raise CheckpointError(f"resume={resume}: no checkpoint is in {files.checkpoints}")
    if resume == "never":
        raise UsageError(
            f"resume=never, but {output_dir} holds a run: choose another folder with "
            "hydra.run.dir=DIR, or resume=auto to go on with it"
        )
    require_same_config(found.content["config"], experiment.resolved, output_dir)
    if found.content["optimizer"] is None:
        raise CheckpointError(
            f"{output_dir}: holds the weights of a finished run and no optimiser, so its training "
            f"cannot go on; init_from={output_dir} starts a new run from these weights"
        )
    return found
