"""The share of an iteration that its arithmetic needs, for any algorithm: `bench.py --arithmetic`.

The arithmetic is counted by torch (matrix products and convolutions, backwards included) and
divided by the rate of one large matrix product on the same cores.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from bench_cases import OMNIGLOT, Case, batch_of
from bench_ours import FIRST_EPOCH, our_engine, our_step
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

SIDE = 1024


def arithmetic_table(algos: Sequence[str], engine: str, repeats: int) -> str:
    """A row per algorithm, by its defaults: Omniglot 5-way 1-shot, 8 tasks of random images."""
    one = torch.rand(SIDE, SIDE)
    rate = 2 * SIDE**3 / _seconds(lambda: one @ one, repeats)
    rows = []
    for name in algos:
        case = Case(name=name, algo=name, switches={}, ways=5, **OMNIGLOT)
        batch, (_, step) = batch_of(case), our_step(case, engine)
        took = _seconds(lambda step=step, batch=batch: step(batch), repeats)
        done = _operations(case)
        chosen = our_engine(case, engine).name
        row = [name, chosen, f"{took:.3f}", f"{done / 1e9:.1f}", f"{done / rate / took:.0%}"]
        rows.append(row)
    header = ["algo", "engine", "seconds", "GFLOP", "share of arithmetic"]
    table = tabulate(rows, header, tablefmt="github", disable_numparse=True)
    return f"{table}\n{rate / 1e9:.0f} GFLOP/s in a matrix product of side {SIDE}"


def _seconds(function: Callable[[], object], repeats: int) -> float:
    """The median time of the calls, after a first call that is not counted."""
    function()
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def _operations(case: Case) -> int:
    """Floating-point operations of an iteration, computed task by task."""
    held = our_engine(case, "loop")
    with FlopCounterMode(display=False) as counter:
        held.meta_gradient(held.algorithm.init(0), batch_of(case), FIRST_EPOCH)
    return counter.get_total_flops()
