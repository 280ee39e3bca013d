"""The outer loop: episodes, meta-gradient, step; after each epoch, validation and checkpoint."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from maml_cli.core.algorithm import MetaParameters, MetaStep, flat
from maml_cli.core.errors import DivergedError, ProcessLost
from maml_cli.core.records import EpochRecord, IterationRecord, Sink
from maml_cli.core.settings import TrainSettings
from maml_cli.core.stats import Estimate
from maml_cli.core.types import Progress
from maml_cli.engines.engine import Engine
from maml_cli.storage.checkpoint import Checkpoints
from maml_cli.training.batches import Batches
from maml_cli.training.clipping import clip
from maml_cli.training.finite import diverged, is_finite, where_finite
from maml_cli.training.signals import Stop, StopRequests
from maml_cli.training.state import Outcome, RunState

RECORD_EVERY = 10
CHECKPOINT_SECONDS = 600
SKIP_LIMIT = 100
"""More iterations that are not finite than this are no accident."""


@dataclass(kw_only=True)
class Trainer:
    """Fits meta-parameters to batches of training episodes."""

    engine: Engine
    batches: Batches
    settings: TrainSettings
    checkpoints: Checkpoints
    metadata: Mapping[str, Any]
    """Stored with each checkpoint: the configuration and the machine."""
    reporter: Sink
    stop: StopRequests
    validate: Callable[[MetaParameters], Mapping[int, Estimate]]
    """The validation metric by inner steps; after the last, it decides which epochs are best."""
    _saved: float = field(default_factory=time.monotonic, init=False)

    def fit(self, run: RunState) -> None:
        """Go on until all epochs are done, or patience ends, or Stop, which leaves a checkpoint.

        Raises DivergedError or StorageError.
        """
        try:
            while self._goes_on(run):
                self._train(run)
                self._end_epoch(run)
        except (Stop, ProcessLost):
            self._save(run, self.checkpoints.save_partial)
            raise

    def _goes_on(self, run: RunState) -> bool:
        hopeful = self.checkpoints.hopeful(run.scores, self.settings.patience)
        return run.epoch < self.settings.epochs and hopeful

    def _train(self, run: RunState) -> None:
        """The outer updates that are left of this epoch."""
        end = (run.epoch + 1) * self.settings.iterations_per_epoch
        while run.iteration < end:
            if time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
                self._save(run, self.checkpoints.save_partial)
            started = time.perf_counter()
            progress = self._progress(run.iteration, run.epoch)
            with self.stop.interruptible():
                episodes = self.batches.at(self.engine.algorithm.batch_number(run.iteration))
                step = self.engine.meta_gradient(run.params, episodes, progress)
            self._update(run, step, self.engine.algorithm.outer_lr(progress))
            run.iteration += 1
            recorded = run.iteration % RECORD_EVERY == 0 or run.iteration == end
            if recorded:
                self._require_finite(run)  # the values leave the device here
            elapsed = time.perf_counter() - started
            run.recent_seconds += elapsed
            run.seconds += elapsed
            if recorded:
                self._record(run, progress)

    def _progress(self, iteration: int, epoch: int) -> Progress:
        epochs = self.settings.epochs
        iterations = epochs * self.settings.iterations_per_epoch
        return Progress(iteration=iteration, epoch=epoch, iterations=iterations, epochs=epochs)

    def _update(self, run: RunState, step: MetaStep, outer_lr: float) -> None:
        finite = is_finite(step)
        run.recent.append(
            Outcome(step.loss, step.query_loss, step.query_metric, step.query_steps, finite)
        )
        on_cpu = finite.device.type == "cpu"  # where looking at a value costs nothing
        if on_cpu and not finite and self.settings.on_nonfinite == "stop":
            raise self._diverged(run, run.recent[-1], run.iteration + 1)
        if not (on_cpu and finite):
            step = where_finite(finite, step, run.params.state)
        theta, gradient = flat(run.params.theta), flat(step.gradient)
        for name, tensor in theta.items():
            tensor.grad = gradient[name]
        clip(theta.values(), by_value=self.settings.grad_clip, by_norm=self.settings.grad_clip_norm)
        for group in run.optimizer.param_groups:
            group["lr"] = outer_lr
        run.optimizer.step()
        run.params = MetaParameters(theta=run.params.theta, state=step.state)

    def _require_finite(self, run: RunState) -> None:
        """Count the iterations passed over, or end the run that meant to stop at the first."""
        finite: list[bool] = torch.stack([outcome.finite for outcome in run.recent]).tolist()
        if all(finite):
            return
        first = finite.index(False)
        error = self._diverged(run, run.recent[first], run.iteration - len(finite) + first + 1)
        run.skipped += finite.count(False)
        if self.settings.on_nonfinite == "stop":
            raise error
        if run.skipped > SKIP_LIMIT:
            raise DivergedError(
                f"{run.skipped} iterations were passed over, {SKIP_LIMIT} may be", *error.messages
            )
        run.recent = [outcome for outcome in run.recent if outcome.finite]

    def _diverged(self, run: RunState, outcome: Outcome, iteration: int) -> DivergedError:
        rates = self.engine.algorithm.learned_rates(run.params)
        tasks = self.settings.tasks_per_batch
        first = self.engine.algorithm.batch_number(iteration - 1) * tasks
        return diverged(outcome, iteration, range(first, first + tasks), rates)

    def _record(self, run: RunState, progress: Progress) -> None:
        if run.recent:
            self.reporter.iteration(_record(run, self.engine.algorithm.outer_lr(progress)))
        run.recent, run.recent_seconds = [], 0.0

    def _end_epoch(self, run: RunState) -> None:
        with self.stop.interruptible():
            val = self.validate(run.params)
        progress = self._progress(run.iteration - 1, run.epoch)
        run.scores[run.epoch] = val[max(val)].mean
        rates = self.engine.algorithm.learned_rates(run.params)
        self.reporter.epoch(
            EpochRecord(
                epoch=run.epoch,
                iteration=run.iteration,
                val=val,
                best=self.checkpoints.best(run.scores)[0] == run.epoch,
                inner_rates={name: tuple(values) for name, values in rates.items()},
                phase=asdict(self.engine.algorithm.phase(progress)),
            )
        )
        run.epoch += 1
        self._save(run, self.checkpoints.save)

    def _save(self, run: RunState, save: Callable[[Mapping[str, Any]], None]) -> None:
        self.reporter.flush()  # no record may be missing that a resumed run will not write again
        save({**self.metadata, **run.content()})
        self._saved = time.monotonic()


def _record(run: RunState, outer_lr: float) -> IterationRecord:
    """The means over the recent iterations."""
    recent = run.recent
    query_loss = torch.stack([outcome.query_loss for outcome in recent]).mean(0).tolist()
    query_metric = torch.stack([outcome.query_metric for outcome in recent]).mean(0).tolist()
    inner_steps = recent[-1].query_steps
    return IterationRecord(
        iteration=run.iteration,
        epoch=run.epoch,
        loss=torch.stack([outcome.loss for outcome in recent]).mean().item(),
        metric=query_metric[-1],
        query_losses=dict(zip(inner_steps, query_loss, strict=True)),
        query_metrics=dict(zip(inner_steps, query_metric, strict=True)),
        outer_lr=outer_lr,
        iterations_per_second=len(recent) / run.recent_seconds,
    )
