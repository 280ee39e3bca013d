"""An engine that shares a batch of tasks out to processes of this machine.

Python runs one thread at a time, and a few-shot task is thousands of small operations with Python
between them: threads wait for each other where processes do not.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Barrier
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from maml_cli.core.algorithm import Algorithm, MetaParameters, Phase, TaskStep
from maml_cli.core.errors import ProcessLost
from maml_cli.core.machine import keep_memory
from maml_cli.core.merging import merged_shares
from maml_cli.core.types import Episode, Evaluation
from maml_cli.engines.engine import Engine
from maml_cli.engines.per_task import lean_loop

AVAILABLE = sys.platform == "linux"
"""Elsewhere a process cannot be forked safely, or cannot end with the one that it belongs to."""
PR_SET_PDEATHSIG = 1
START_SECONDS = 60


class Refused(Exception):
    """The machine refuses processes, or the shared memory by which they wait for each other."""


class Processes(Engine):
    """Merges what the shares of a batch say, each of which another process computes.

    A batch of one task, and an algorithm that needs all tasks of a batch at once, are computed in
    this process, with all cores. Raises ProcessLost, and Refused where processes cannot be had.
    """

    def __init__(self, algorithm: Algorithm, *, processes: int) -> None:
        super().__init__(algorithm)
        self.name = f"processes ({processes})"
        self._here = lean_loop(algorithm)
        self._processes = processes
        try:
            self._pool = _started(self._here, processes)
        except (OSError, RuntimeError, BrokenProcessPool) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise Refused(said or type(error).__name__) from error
        weakref.finalize(self, self._pool.shutdown, wait=True, cancel_futures=True)

    def step(self, params: MetaParameters, episodes: Episode, phase: Phase) -> TaskStep:
        if self.algorithm.together or len(episodes.support_x) == 1:
            return self._here.step(params, episodes, phase)
        shares = self._shares(episodes)
        steps = [_tensors(found) for found in self._ask(_step, params, shares, phase)]
        weights = [len(share.support_x) / len(episodes.support_x) for share in shares]
        return merged_shares(steps, weights, self.algorithm.merges)

    def predict(self, params: MetaParameters, episodes: Episode, evaluation: Evaluation) -> Tensor:
        answers = self._ask(_predict, params, self._shares(episodes), evaluation)
        return torch.cat([_tensors(outputs) for outputs in answers])

    def _shares(self, episodes: Episode) -> list[Episode]:
        """Nearly equal ones, none of them empty."""
        count = min(self._processes, len(episodes.support_x))
        fields = (torch.tensor_split(field, count) for field in episodes)
        return [Episode(*share) for share in zip(*fields, strict=True)]

    def _ask(
        self,
        question: Callable[..., Any],
        params: MetaParameters,
        shares: list[Episode],
        *others: Any,
    ) -> list[Any]:
        sent = _arrays((params.theta, params.state, params.inputs))
        try:
            answers = [
                self._pool.submit(question, sent, _arrays(share), *others) for share in shares
            ]
            return [answer.result() for answer in answers]
        except BrokenProcessPool as error:
            raise ProcessLost(
                "a process that computed a part of the tasks was killed, perhaps because memory "
                "ran out: the same command goes on from the last checkpoint"
            ) from error


def _started(engine: Engine, processes: int) -> ProcessPoolExecutor:
    """The processes, all of them begun; raises what the machine refuses, and leaves none."""
    context = multiprocessing.get_context("fork")  # so that the algorithm need not be sent
    ready = context.Barrier(processes + 1)  # a signal must not meet one that has hardly begun
    pool = ProcessPoolExecutor(processes, context, _begin, (engine, os.getpid(), ready))
    try:
        with warnings.catch_warnings():
            # of threads whose locks a fork may copy: those of torch and of a run before this one
            # are idle, and no others have begun
            warnings.simplefilter("ignore", DeprecationWarning)
            for _ in range(processes):
                pool.submit(os.getpid)
        ready.wait(START_SECONDS)
    except BaseException:
        ready.abort()
        for process in (pool._processes or {}).values():
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return pool


def _arrays(tree: Any) -> Any:
    """The tree to be sent, as arrays: as tensors each would take a file in shared memory."""
    return tree_map(lambda t: t.detach().numpy(), tree)


def _tensors(tree: Any) -> Any:
    return tree_map(lambda array: torch.from_numpy(np.asarray(array)), tree)


# What follows runs in the workers.


class _Worker:
    engine: ClassVar[Engine]


def _begin(engine: Engine, parent: int, ready: Barrier) -> None:
    _Worker.engine = engine
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # also when the parent is killed
    if os.getppid() != parent:
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    keep_memory()
    ready.wait(START_SECONDS)


def _step(sent: Any, episodes: Any, phase: Phase) -> Any:
    return _arrays(_Worker.engine.step(_params(sent), _tensors(episodes), phase))


def _predict(sent: Any, episodes: Any, evaluation: Evaluation) -> Any:
    return _arrays(_Worker.engine.predict(_params(sent), _tensors(episodes), evaluation))


def _params(sent: Any) -> MetaParameters:
    theta, state, inputs = _tensors(sent)
    return MetaParameters(theta=theta, state=state, inputs=inputs)
