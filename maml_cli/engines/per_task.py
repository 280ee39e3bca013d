"""Engines that compute whole tasks, one after the other or beside each other in threads.

`loop` is the reference that reads simplest. `threads` runs tasks beside each other, each on one
core: the tensors of a few-shot task are small, so this beats splitting every operation over the
cores. It uses blocks with a lean second derivative (`engines/fused.py`).
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event, Thread
from typing import Any

import torch
from torch import Tensor

from maml_cli.core.algorithm import Algorithm, MetaParameters, Ops, Phase, TaskStep
from maml_cli.core.autodiff import Autograd, detached
from maml_cli.core.merging import merged
from maml_cli.core.norms import BatchStats
from maml_cli.core.types import Episode, Evaluation
from maml_cli.engines.engine import Engine
from maml_cli.engines.fused_images import Seen
from maml_cli.engines.fused_norm import FusedBatchStats


class PerTask(Engine):
    """Each task by itself; its graph is freed at its end, so memory does not grow with the batch.

    `run` maps a function over the tasks in order: the builtin `map`, or an executor's. `ops` gives
    what a task computes with, for each task anew.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        name: str,
        run: Callable[..., Iterable[Any]],
        *,
        ops: Callable[[], Ops],
    ) -> None:
        super().__init__(algorithm)
        self.name = name
        self._run = run
        self._ops = ops

    def step(self, params: MetaParameters, episodes: Episode, phase: Phase) -> TaskStep:
        def one_task(episode: Episode) -> TaskStep:
            found: TaskStep = detached(self.algorithm.task(params, episode, phase, self._ops()))
            return found

        if self.algorithm.together:
            return one_task(episodes)
        # in task order, so that sums are reproducible
        tasks = tasks_of(episodes)
        run = self._run if len(tasks) > 1 else map  # here, a single task has all cores
        return merged(run(one_task, tasks), self.algorithm.merges)

    def predict(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        def one_task(episode: Episode) -> Tensor:
            return self.algorithm.predict(params, episode, evaluation, self._ops()).detach()

        return torch.stack(list(self._run(one_task, tasks_of(episodes))))

    def features(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        """The features of the queries, `(tasks, evaluation steps, queries, ...)`, as constants."""

        def one_task(episode: Episode) -> Tensor:
            return self.algorithm.features(params, episode, evaluation, self._ops()).detach()

        return torch.stack(list(self._run(one_task, tasks_of(episodes))))


def tasks_of(episodes: Episode) -> list[Episode]:
    """The episodes of a batch."""
    return [Episode(*fields) for fields in zip(*(f.unbind() for f in episodes), strict=True)]


def plain_ops() -> Ops:
    """By torch's own operations."""
    return Ops(Autograd(), BatchStats)


def lean_ops() -> Ops:
    """By lean blocks, which know what images the task has shown before."""
    return Ops(Autograd(), partial(FusedBatchStats, Seen()))


def loop(algorithm: Algorithm) -> PerTask:
    """One task after the other, by torch's own operations."""
    return PerTask(algorithm, "loop", map, ops=plain_ops)


def threads(algorithm: Algorithm) -> PerTask:
    """A thread per core, by lean blocks."""
    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
    return PerTask(algorithm, f"threads ({cores})", pool.map, ops=lean_ops)


def threads_can_start(count: int) -> bool:
    """Whether the machine allows so many more threads beside each other."""
    release = Event()
    begun: list[Thread] = []
    try:
        for _ in range(count):
            thread = Thread(target=release.wait, daemon=True)
            thread.start()
            begun.append(thread)
    except RuntimeError:
        return False
    finally:
        release.set()
        for thread in begun:
            thread.join()
    return True


def lean_loop(algorithm: Algorithm) -> PerTask:
    """One task after the other, by lean blocks."""
    return PerTask(algorithm, "lean loop", map, ops=lean_ops)
