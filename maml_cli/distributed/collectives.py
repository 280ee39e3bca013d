"""What the processes of one run tell each other, through torch.distributed; alone, nothing is sent.

Each function is called by all of them, in the same order.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from maml_cli.core.errors import ProcessLost, UserError
from maml_cli.core.types import Tensors
from maml_cli.distributed import ranks

TIMEOUT = timedelta(seconds=50)
"""For a process that says nothing, such as one whose machine lost power; a killed one is noticed at
once. Between two messages no process does more than a checkpoint or a batch of tasks."""
PATIENCE = timedelta(hours=24)
"""For the first to prepare the data."""

T = TypeVar("T")


@contextmanager
def joined() -> Iterator[None]:
    """Within, the processes that torchrun started are one group: gloo on CPUs, NCCL on GPUs."""
    if ranks.size() == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _in_contact():
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
        # torchrun keeps the store when it starts processes again, and dead addresses in it
        attempt = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        dist.init_process_group(backend, timeout=TIMEOUT, store=attempt, rank=rank, world_size=size)
    yield
    dist.destroy_process_group()  # not after an error: others may have left in mid-sentence


def together() -> bool:
    """Whether this process has joined others."""
    return dist.is_initialized()


def weighted_sum(tensors: Tensors, weight: float) -> dict[str, Tensor]:
    """`sum over processes of weight * tensor`, of all tensors in one message; equal for all.

    The message has the widest of their types, and each sum that of its tensor.
    """
    flat = weight * torch.cat([t.reshape(-1) for t in tensors.values()])
    with _in_contact():
        dist.all_reduce(flat)
    pieces = torch.split(flat, [t.numel() for t in tensors.values()])
    return {n: p.view_as(t).to(t) for (n, t), p in zip(tensors.items(), pieces, strict=True)}


def concatenated(tensor: Tensor) -> Tensor:
    """The tensors of all processes, which have one shape, along the first dimension."""
    pieces = [torch.empty_like(tensor) for _ in range(ranks.size())]
    with _in_contact():
        dist.all_gather(pieces, tensor.contiguous())
    return torch.cat(pieces)


def highest(number: int) -> int:
    """The highest of the numbers of all processes."""
    if not together():
        return number
    numbers = torch.tensor(number)  # on the CPU, so that no GPU is waited for
    with _in_contact():
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return int(numbers)


@contextmanager
def agreed() -> Iterator[None]:
    """A UserError within, in any process, ends the block with a UserError in all of them."""
    own: UserError | None = None
    try:
        yield
    except UserError as error:
        own = error
    found: list[UserError | None] = [own]
    if together():
        found *= ranks.size()
        with _in_contact():
            dist.all_gather_object(found, own)
    if errors := list(filter(None, [own, *found])):
        raise errors[0]


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, for all; a UserError of it, likewise."""
    made: list[T | None] = [None]
    with agreed():
        if ranks.is_first():
            made = [make()]
    if together():
        with _in_contact():
            dist.broadcast_object_list(made, src=0)
    return made[0]  # type: ignore[return-value]  # None only where T is


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process of each machine leaves the block before the others of it enter."""
    if not together():
        yield
        return
    with _in_contact():
        patient = dist.new_group(timeout=PATIENCE, backend="gloo")
        if ranks.local_rank() > 0:
            dist.barrier(patient)
    try:
        yield
    finally:
        with _in_contact():
            if ranks.local_rank() == 0:
                dist.barrier(patient)
            dist.barrier(patient)  # nobody has to wait for the last one with less patience


def await_end_of_first() -> None:
    """Return once the first process has ended; torchrun would end it as soon as this one ends."""
    if together():
        with suppress(RuntimeError):
            dist.recv(torch.empty(1), src=0)  # which it never sends


@contextmanager
def _in_contact() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's has no class of its own
        raise ProcessLost(
            f"process {ranks.rank()} of {ranks.size()} has lost contact with the others "
            f"({str(error).splitlines()[0]}): one of them has ended or its machine cannot be "
            "reached; the same command goes on from the last checkpoint"
        ) from error
