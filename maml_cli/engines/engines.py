"""How the tasks of a batch are computed: one by one, beside each other, or batched; all agree.

`loop` is the reference that reads simplest. `threads` and `processes` run whole tasks beside each
other, each on one core: the tensors of a few-shot task are small, so this beats splitting every
operation over the cores; and they use blocks with a lean second derivative (`engines/fused.py`).
`vmap` batches every operation over the tasks, for networks of many tiny operations and for GPUs;
`graph` is the same, recorded as a whole and replayed.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from maml_cli.core.batch_norm import BatchStats, FusedBatchStats, Norm
from maml_cli.core.functional import (
    autograd_gradient,
    autograd_pullback,
    autograd_settle,
    detached,
    functional_gradient,
    functional_pullback,
    functional_settle,
    prefixed,
    section,
)
from maml_cli.core.types import Episode, Tensors
from maml_cli.engines.engine import Engine, Numerics, TaskLoss, TaskMap, TaskTensors


def _tasks_of(episodes: Episode) -> list[Episode]:
    return [Episode(*fields) for fields in zip(*(f.unbind() for f in episodes), strict=True)]


class PerTask:
    """Each task by itself; its graph is freed at its end, so memory does not grow with the batch.

    `run` maps a function over the tasks in order: the builtin `map`, or an executor's.
    """

    def __init__(
        self,
        name: str,
        run: Callable[..., Iterable[Any]],
        *,
        batch_stats: Callable[[], Norm],
    ) -> None:
        self.name = name
        self._run = run
        self._numerics = Numerics(
            autograd_gradient, autograd_pullback, autograd_settle, batch_stats
        )

    def mean_gradient(
        self, task_loss: TaskLoss, theta: Tensors, episodes: Episode
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        def one_task(episode: Episode, numerics: Numerics) -> dict[str, Tensor]:
            def loss(theta: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
                return task_loss(theta, episode, numerics)

            gradient, kept = autograd_gradient(loss, theta, False)
            return prefixed(gradient, "gradient") | prefixed(kept, "kept")

        means = self.mean(one_task, episodes)
        return section(means, "gradient"), section(means, "kept")

    def mean(self, function: TaskTensors, episodes: Episode) -> dict[str, Tensor]:
        def one_task(episode: Episode) -> dict[str, Tensor]:
            return detached(function(episode, self._numerics))

        tasks = _tasks_of(episodes)
        total: dict[str, Tensor] = {}
        for result in self._run(one_task, tasks):  # in task order, so that sums are reproducible
            total = {n: total[n] + t for n, t in result.items()} if total else result
        return {n: t / len(tasks) for n, t in total.items()}

    def map(self, function: TaskMap, episodes: Episode) -> Tensor:
        def one_task(episode: Episode) -> Tensor:
            return function(episode, self._numerics).detach()

        return torch.stack(list(self._run(one_task, _tasks_of(episodes))))


class Vmap:
    """All tasks at once: every operation carries the tasks as one more dimension."""

    _numerics = Numerics(functional_gradient, functional_pullback, functional_settle, BatchStats)

    def __init__(self, name: str) -> None:
        self.name = name

    def mean_gradient(
        self, task_loss: TaskLoss, theta: Tensors, episodes: Episode
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        def one_task(*fields: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
            def loss(theta: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
                return task_loss(theta, Episode(*fields), self._numerics)

            value, pullback, kept = torch.func.vjp(loss, dict(theta), has_aux=True)  # type: ignore[misc]
            # Nothing differentiates the outermost gradient: no graph of it, unlike torch.func.grad,
            # and that of the task goes while it is walked.
            with torch.no_grad():
                (gradient,) = pullback(torch.ones_like(value), retain_graph=False)
            return gradient, kept

        with torch.no_grad():
            gradients, kept = torch.func.vmap(one_task)(*episodes)
        return _means(gradients), _means(kept)

    def mean(self, function: TaskTensors, episodes: Episode) -> dict[str, Tensor]:
        def one_task(*fields: Tensor) -> dict[str, Tensor]:
            return function(Episode(*fields), self._numerics)

        with torch.no_grad():
            return _means(torch.func.vmap(one_task)(*episodes))

    def map(self, function: TaskMap, episodes: Episode) -> Tensor:
        def one_task(*fields: Tensor) -> Tensor:
            return function(Episode(*fields), self._numerics)

        with torch.no_grad():
            return torch.func.vmap(one_task)(*episodes)


def _means(tensors: Tensors) -> dict[str, Tensor]:
    return {n: t.mean(0) for n, t in tensors.items()}


def make_engine(name: str) -> Engine:
    """The named engine; the number of its cores, if it has several, stands in its name."""
    if name in ("vmap", "graph"):
        return Vmap(name)
    if name == "loop":
        return PerTask("loop", map, batch_stats=BatchStats)
    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
    return _lean(f"{name} ({cores})", pool.map)


def one_core_engine() -> Engine:
    """What `threads` does, for one of them."""
    return _lean("one core", map)


def _lean(name: str, run: Callable[..., Iterable[Any]]) -> PerTask:
    return PerTask(name, run, batch_stats=FusedBatchStats)
