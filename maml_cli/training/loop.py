"""The outer loop: episodes, meta-gradient, step; after each epoch, validation and checkpoint."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from maml_cli.core.errors import DivergedError
from maml_cli.core.learner import Learner, MetaParameters, MetaStep
from maml_cli.core.records import EpochRecord, IterationRecord, Sink
from maml_cli.core.settings import TrainSettings
from maml_cli.core.stats import Estimate
from maml_cli.core.types import Progress, TaskSource
from maml_cli.training.checkpoint import Checkpoints

RECORD_EVERY = 10


@dataclass(kw_only=True)
class Trainer:
    """Fits meta-parameters to the training episodes of a source."""

    learner: Learner
    source: TaskSource
    settings: TrainSettings
    checkpoints: Checkpoints
    reporter: Sink
    validate: Callable[[MetaParameters], tuple[Estimate, ...]]
    """The validation metric after 0, 1, ... inner steps; the last decides which epochs are best."""
    seconds: float = field(default=0.0, init=False)
    """Time spent in outer iterations so far."""

    def fit(self, params: MetaParameters) -> MetaParameters:
        """Run all epochs; returns the final meta-parameters. Raises DivergedError, StorageError."""
        settings = self.settings
        theta = list(params.theta.values())  # updated in place by the optimiser
        optimizer = self.learner.optimizer(theta)
        for epoch in range(settings.epochs):
            recent: list[MetaStep] = []
            started = time.perf_counter()
            for iteration in range(
                epoch * settings.iterations_per_epoch, (epoch + 1) * settings.iterations_per_epoch
            ):
                progress = Progress(
                    iteration=iteration,
                    epoch=epoch,
                    iterations=settings.epochs * settings.iterations_per_epoch,
                    epochs=settings.epochs,
                )
                tasks = settings.tasks_per_batch
                episodes = self.source.episodes("train", iteration * tasks, tasks)
                step = self.learner.meta_gradient(params, episodes, progress)
                outer_lr = self.learner.outer_lr(progress)
                self._descend(optimizer, params, step, outer_lr, progress)
                params = MetaParameters(theta=params.theta, state=step.state)

                recent.append(step)
                done = iteration + 1
                if done % RECORD_EVERY == 0 or done % settings.iterations_per_epoch == 0:
                    elapsed = time.perf_counter() - started
                    self.reporter.iteration(_record(recent, done, epoch, outer_lr, elapsed))
                    self.seconds += elapsed
                    recent, started = [], time.perf_counter()
            self._end_epoch(params, optimizer, progress)
        return params

    def _descend(
        self,
        optimizer: torch.optim.Optimizer,
        params: MetaParameters,
        step: MetaStep,
        outer_lr: float,
        progress: Progress,
    ) -> None:
        if not torch.isfinite(step.loss):
            first = progress.iteration * self.settings.tasks_per_batch
            raise DivergedError(
                f"the loss is {step.loss.item()} at iteration {progress.iteration + 1} (training "
                f"episodes {first} to {first + self.settings.tasks_per_batch - 1}): lower "
                "train.outer_lr or algo.inner_lr, or set train.grad_clip"
            )
        for name, tensor in params.theta.items():
            tensor.grad = step.gradient[name]
        if self.settings.grad_clip is not None:
            torch.nn.utils.clip_grad_value_(params.theta.values(), self.settings.grad_clip)
        for group in optimizer.param_groups:
            group["lr"] = outer_lr
        optimizer.step()

    def _end_epoch(
        self, params: MetaParameters, optimizer: torch.optim.Optimizer, progress: Progress
    ) -> None:
        val = self.validate(params)
        done = progress.iteration + 1
        best = self.checkpoints.save(
            progress.epoch, done, params, optimizer.state_dict(), val[-1].mean
        )
        rates = self.learner.inner_rates(params)
        self.reporter.epoch(
            EpochRecord(
                epoch=progress.epoch,
                iteration=done,
                val=val,
                best=best,
                inner_rates={name: tuple(values) for name, values in rates.items()},
                step_weights=tuple(self.learner.step_weights(progress)),
                order=self.learner.order(progress),
            )
        )


def _record(
    steps: list[MetaStep], iteration: int, epoch: int, outer_lr: float, seconds: float
) -> IterationRecord:
    """The means of some iterations; this is where values leave the device."""
    query_loss = torch.stack([s.query_loss for s in steps]).mean(0).tolist()
    query_metric = torch.stack([s.query_metric for s in steps]).mean(0).tolist()
    inner_steps = steps[-1].query_steps
    return IterationRecord(
        iteration=iteration,
        epoch=epoch,
        loss=torch.stack([s.loss for s in steps]).mean().item(),
        metric=query_metric[-1],
        query_losses=dict(zip(inner_steps, query_loss, strict=True)),
        query_metrics=dict(zip(inner_steps, query_metric, strict=True)),
        outer_lr=outer_lr,
        iterations_per_second=len(steps) / seconds,
    )
