"""The time that the convolutions of an iteration need alone: the floor of `bench.py`."""

import time

import torch
from bench_cases import STEPS, Case
from torch import Tensor

REPEATS = 3


def convolution_seconds(case: Case) -> float:
    """Seconds of one iteration's convolutions, shared out to all cores without any loss.

    The same shapes and counts, channels-last, nothing between them: for each task and step the
    support and the query pass forwards and backwards, and at second order the support pass twice.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        per_task = min(_one_task(case) for _ in range(REPEATS))
    finally:
        torch.set_num_threads(cores)
    return per_task * case.tasks / cores


def _passes(case: Case) -> tuple[int, int]:
    """How often the support set and the queries pass the network."""
    algo = case.experiment.algo
    if case.algo == "protonet" or algo.adapts == ["head"]:
        return 1, 1
    return STEPS * algo.order, STEPS if algo.msl else 1


def _one_task(case: Case) -> float:
    support, query = _passes(case)
    layers = [_layers(case, case.ways * each) for each in (case.shots, case.queries)]
    started = time.perf_counter()
    for passes, pairs in zip((support, query), layers, strict=True):
        for _ in range(passes):
            for number, (x, kernel) in enumerate(pairs):
                y = torch.nn.functional.conv2d(x, kernel, padding=1)
                wanted = [number > 0, True, False]  # nobody differentiates with respect to images
                torch.ops.aten.convolution_backward(
                    y, x, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
                )
    return time.perf_counter() - started


def _layers(case: Case, examples: int) -> list[tuple[Tensor, Tensor]]:
    """Inputs and kernel of each block."""
    channels, height, width = case.image
    pairs = []
    for _ in range(4):
        x = torch.rand(examples, channels, height, width)
        kernel = torch.rand(case.filters, channels, 3, 3)
        form = torch.channels_last
        pairs.append((x.contiguous(memory_format=form), kernel.contiguous(memory_format=form)))
        channels, height, width = case.filters, height // 2, width // 2
    return pairs
