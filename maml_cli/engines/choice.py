"""Which engine computes a learner's tasks, and the learner that has its tasks computed by it."""

from collections.abc import Callable

import torch

from maml_cli.core.errors import UsageError
from maml_cli.core.learner import Learner
from maml_cli.distributed import ranks
from maml_cli.engines import processes
from maml_cli.engines.engine import Engine
from maml_cli.engines.engines import one_core_engine
from maml_cli.engines.processes import InProcesses
from maml_cli.engines.recorded import Recorded, cuda_graph, traced


def choose_engine(name: str, device: torch.device, *, convolutional: bool) -> str:
    """The named engine; `auto` takes what was measured fastest. Raises UsageError.

    On a CPU that is `graph` for networks without convolutions. Convolutions with a kernel for each
    task are slow there if batched: `processes`, or `threads` where those cannot be had or one core
    leaves nothing to share out. On a GPU it is `vmap`, until `graph` has been measured on one.
    """
    on_gpu, alone = device.type == "cuda", ranks.size() == 1
    if name == "auto":
        if on_gpu or not convolutional:
            return "vmap" if on_gpu or not alone else "graph"
        shared = processes.AVAILABLE and torch.get_num_threads() > 1 and alone
        return "processes" if shared else "threads"
    problems = {
        "processes needs Linux": name == "processes" and not processes.AVAILABLE,
        "processes is for a CPU": name == "processes" and on_gpu,
        f"{name} is not for torchrun": name in ("processes", "graph") and not alone,
    }
    if found := [problem for problem, holds in problems.items() if holds]:
        raise UsageError(*(f"engine={problem}: leave it out, or set vmap" for problem in found))
    return name


def computed_by(
    name: str,
    engine: Engine,
    build: Callable[[Engine], Learner],
    device: torch.device,
    *,
    splits: bool,
) -> Learner:
    """The learner that `build` makes of the engine of that name.

    `splits` is whether the tasks of a batch know nothing of each other.
    """
    learner = build(engine)
    if name == "processes":
        worker, cores = build(one_core_engine()), torch.get_num_threads()
        return InProcesses(learner, worker, processes=cores, splits=splits)
    if name == "graph":
        return Recorded(learner, cuda_graph if device.type == "cuda" else traced)
    return learner
