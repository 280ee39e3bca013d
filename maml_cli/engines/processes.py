"""A learner whose batches of tasks are shared out to processes of this machine.

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
from numpy.typing import NDArray
from torch import Tensor

from maml_cli.core.errors import ProcessLost
from maml_cli.core.functional import prefixed, section
from maml_cli.core.learner import Learner, LearnerAround, MetaParameters, MetaStep
from maml_cli.core.types import Episode, Looks, Progress, Tensors

AVAILABLE = sys.platform == "linux"
"""Elsewhere a process cannot be forked safely, or cannot end with the one that it belongs to."""
PR_SET_PDEATHSIG = 1
START_SECONDS = 60

Arrays = dict[str, NDArray[Any]]
"""Tensors to be sent: as tensors each would take a file in shared memory."""


class InProcesses(LearnerAround):
    """Computes means over a batch from those over its shares, each taken by another process.

    `worker` is the learner as it is forked, for one core. Where `splits` is false, the tasks of
    a batch know of each other, and `learner` itself takes the meta-gradient. Raises ProcessLost.
    """

    def __init__(self, learner: Learner, worker: Learner, *, processes: int, splits: bool) -> None:
        super().__init__(learner)
        self._processes = processes
        self._splits = splits
        context = multiprocessing.get_context("fork")  # so that the learner need not be sent
        ready = context.Barrier(processes + 1)  # a signal must not meet one that has hardly begun
        begin = worker, os.getpid(), ready
        self._pool = ProcessPoolExecutor(processes, context, _begin, begin)
        with warnings.catch_warnings():
            # of threads whose locks a fork may copy: those of torch and of a run before this one
            # are idle, and no others have begun
            warnings.simplefilter("ignore", DeprecationWarning)
            for _ in range(processes):
                self._pool.submit(os.getpid)
        ready.wait(START_SECONDS)
        weakref.finalize(self, self._pool.shutdown, wait=True, cancel_futures=True)

    def meta_gradient(
        self, params: MetaParameters, episodes: Episode, progress: Progress
    ) -> MetaStep:
        if not self._splits:
            return super().meta_gradient(params, episodes, progress)
        shares = self._shares(episodes)
        answers = self._ask(_meta_gradient, params, shares, progress)
        steps = [_tensors(arrays) for arrays, _ in answers]
        weights = [len(share.support_x) / len(episodes.support_x) for share in shares]
        mean = {name: _weighted(weights, [step[name] for step in steps]) for name in steps[0]}
        return MetaStep(
            gradient=section(mean, "gradient"),
            state=section(mean, "state"),
            loss=mean["loss"],
            query_loss=mean["query_loss"],
            query_metric=mean["query_metric"],
            query_steps=answers[0][1],
        )

    def predict(self, params: MetaParameters, episodes: Episode, looks: Looks) -> Tensor:
        answers = self._ask(_predict, params, self._shares(episodes), looks)
        return torch.cat([torch.from_numpy(outputs) for outputs in answers])

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
        theta, state = _arrays(params.theta), _arrays(params.state)
        try:
            answers = [
                self._pool.submit(question, theta, state, _arrays(share._asdict()), *others)
                for share in shares
            ]
            return [answer.result() for answer in answers]
        except BrokenProcessPool as error:
            raise ProcessLost(
                "a process that computed a part of the tasks was killed, perhaps because memory "
                "ran out: the same command goes on from the last checkpoint"
            ) from error


def _weighted(weights: list[float], tensors: list[Tensor]) -> Tensor:
    return torch.stack([w * tensor for w, tensor in zip(weights, tensors, strict=True)]).sum(0)


def _arrays(tensors: Tensors) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


# What follows runs in the workers.


class _Worker:
    learner: ClassVar[Learner]


def _begin(learner: Learner, parent: int, ready: Barrier) -> None:
    _Worker.learner = learner
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # also when the parent is killed
    if os.getppid() != parent:
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    ready.wait(START_SECONDS)


def _meta_gradient(
    theta: Arrays, state: Arrays, episodes: Arrays, progress: Progress
) -> tuple[Arrays, tuple[int, ...]]:
    params = MetaParameters(theta=_tensors(theta), state=_tensors(state))
    step = _Worker.learner.meta_gradient(params, Episode(**_tensors(episodes)), progress)
    found = prefixed(step.gradient, "gradient") | prefixed(step.state, "state")
    found |= {"loss": step.loss, "query_loss": step.query_loss, "query_metric": step.query_metric}
    return _arrays(found), step.query_steps


def _predict(theta: Arrays, state: Arrays, episodes: Arrays, looks: Looks) -> NDArray[Any]:
    params = MetaParameters(theta=_tensors(theta), state=_tensors(state))
    outputs = _Worker.learner.predict(params, Episode(**_tensors(episodes)), looks)
    found: NDArray[Any] = outputs.detach().numpy()
    return found
