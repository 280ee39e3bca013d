"""Which engine computes an algorithm's tasks."""

import sys

import torch

from maml_cli.core.algorithm import Algorithm
from maml_cli.core.errors import UsageError
from maml_cli.distributed import ranks
from maml_cli.distributed.collectives import joined_others
from maml_cli.engines import processes
from maml_cli.engines.engine import Engine
from maml_cli.engines.per_task import lean_loop, loop, threads, threads_can_start
from maml_cli.engines.processes import Processes, Refused
from maml_cli.engines.ranked import Ranked
from maml_cli.engines.recorded import Recorded, cuda_graph, traced
from maml_cli.engines.vmap import Vmap


def choose_engine(
    name: str, device: torch.device, *, convolutional: bool, batches: bool = True
) -> str:
    """The named engine; `auto` takes what was measured fastest. Raises UsageError.

    On a CPU that is `graph` for networks without convolutions. Convolutions with a kernel for each
    task are slow there if batched: `processes`, or `threads` where processes cannot be had or there
    is one core only. On a GPU every network is fastest by `graph`, which is not for torchrun and
    not for Apple's GPUs.
    """
    on_gpu, alone = device.type != "cpu", ranks.size() == 1
    graphs = device.type != "mps"
    if name == "auto" and not batches:
        return "loop"
    if name == "auto":
        if on_gpu or not convolutional:
            return "graph" if alone and graphs else "vmap"
        shared = processes.AVAILABLE and torch.get_num_threads() > 1 and alone
        return "processes" if shared else "threads"
    problems = {
        "processes needs Linux": name == "processes" and not processes.AVAILABLE,
        "processes is for a CPU": name == "processes" and on_gpu,
        "graph is not for mps": name == "graph" and not graphs,
        f"{name} is not for torchrun": name in ("processes", "graph") and not alone,
        f"{name} cannot batch this network over tasks": name in ("vmap", "graph") and not batches,
    }
    if found := [problem for problem, holds in problems.items() if holds]:
        raise UsageError(
            *(
                f"engine={problem}: leave it out, or set {'vmap' if batches else 'loop'}"
                for problem in found
            )
        )
    return name


def _say(line: str) -> None:
    sys.stderr.write(f"note: {line}\n")


def make_engine(name: str, algorithm: Algorithm, device: torch.device) -> Engine:
    """The named engine for an algorithm; of several processes, each has its share of the tasks."""
    if name == "processes":
        try:
            return Processes(algorithm, processes=torch.get_num_threads())
        except Refused as error:
            _say(f"engine=processes is refused by this machine ({error}); threads compute instead")
            name = "threads"
    if name == "threads" and not threads_can_start(torch.get_num_threads()):
        _say("threads are refused by this machine; one computes everything instead")
        torch.set_num_threads(1)
        return lean_loop(algorithm)
    if name == "graph":
        return Recorded(Vmap(algorithm), cuda_graph if device.type == "cuda" else traced)
    engine = {"loop": loop, "threads": threads, "vmap": Vmap}[name](algorithm)
    return Ranked(engine) if joined_others() else engine
