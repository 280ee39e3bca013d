"""Seconds per iteration of any algorithm on Omniglot's shapes, and the share its arithmetic needs.

    python scripts/arithmetic.py snail mann memory_module meta_networks in_context

5-way 1-shot, 8 tasks of random images, by the defaults of each algorithm. The
arithmetic is counted by torch (matrix products and convolutions, backwards included) and divided by
the rate of one large matrix product on the same cores.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from bench_cases import OMNIGLOT, Case, batch_of
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from maml_cli.core.types import Progress
from maml_cli.engines.choice import choose_engine, make_engine
from maml_cli.engines.per_task import loop

CPU = torch.device("cpu")
AT_START = Progress(iteration=0, epoch=0, iterations=1000, epochs=10)
SIDE = 1024


def seconds(function: Callable[[], object], repeats: int) -> float:
    """The median of so many calls, after one that is not counted."""
    function()
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def matmul_rate(repeats: int) -> float:
    """Operations per second of a square matrix product."""
    one = torch.rand(SIDE, SIDE)
    return 2 * SIDE**3 / seconds(lambda: one @ one, repeats)


def row(name: str, rate: float, repeats: int) -> list[str]:
    """Of the table: an algorithm's time, operations, and the share of its time that they need."""
    case = Case(name=name, algo=name, switches={}, ways=5, **OMNIGLOT)
    experiment = case.experiment
    network = experiment.backbone.build(case.image)
    algorithm = experiment.algo.build(network, case.source, experiment.train)
    params, batch = algorithm.init(0), batch_of(case)
    engine = choose_engine(
        "auto", CPU, convolutional=network.convolutional, batches=network.batches
    )
    chosen = make_engine(engine, algorithm, CPU)
    took = seconds(lambda: chosen.meta_gradient(params, batch, AT_START), repeats)
    with FlopCounterMode(display=False) as counter:
        loop(algorithm).meta_gradient(params, batch, AT_START)
    done = counter.get_total_flops()
    return [name, chosen.name, f"{took:.3f}", f"{done / 1e9:.1f}", f"{done / rate / took:.0%}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("algos", nargs="+", help="values of algo=")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rate = matmul_rate(arguments.repeats)
    rows = [row(name, rate, arguments.repeats) for name in arguments.algos]
    header = ["algo", "engine", "seconds", "GFLOP", "share of arithmetic"]
    print(tabulate(rows, header, tablefmt="github"))


if __name__ == "__main__":
    main()
