"""Which engine computes a learner's tasks, and the learner that has its tasks computed by it."""

from collections.abc import Callable

import torch

from maml_cli.core import ranks
from maml_cli.core.engine import Engine
from maml_cli.core.errors import UsageError
from maml_cli.core.learner import Learner
from maml_cli.inner import processes
from maml_cli.inner.engines import one_core_engine
from maml_cli.inner.processes import InProcesses
from maml_cli.inner.recorded import Recorded, cuda_graph


def choose_engine(name: str, device: torch.device, *, convolutional: bool) -> str:
    """The named engine; `auto` takes what was measured fastest. Raises UsageError.

    That is `vmap` on a GPU and for networks without convolutions. On a CPU it would turn
    convolutions with a kernel per task into grouped ones, which are slow there: `processes`, or
    `threads` where they cannot be had or one core leaves nothing to share out.
    """
    on_gpu, alone = device.type == "cuda", ranks.size() == 1
    if name == "auto":
        if on_gpu or not convolutional:
            return "vmap"
        shared = processes.AVAILABLE and torch.get_num_threads() > 1 and alone
        return "processes" if shared else "threads"
    problems = {
        "processes needs Linux": name == "processes" and not processes.AVAILABLE,
        "processes is for a CPU": name == "processes" and on_gpu,
        "graph is for a GPU": name == "graph" and not on_gpu,
        f"{name} is not for torchrun": name in ("processes", "graph") and not alone,
    }
    if found := [problem for problem, holds in problems.items() if holds]:
        raise UsageError(*(f"engine={problem}: leave it out, or set vmap" for problem in found))
    return name


def computed_by(
    name: str, engine: Engine, build: Callable[[Engine], Learner], *, splits: bool
) -> Learner:
    """The learner that `build` makes of the engine of that name.

    `splits` is whether the tasks of a batch know nothing of each other.
    """
    learner = build(engine)
    if name == "processes":
        worker, cores = build(one_core_engine()), torch.get_num_threads()
        return InProcesses(learner, worker, processes=cores, splits=splits)
    if name == "graph":
        return Recorded(learner, cuda_graph)
    return learner
