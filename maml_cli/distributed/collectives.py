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
from torch.utils._pytree import tree_flatten, tree_unflatten

from maml_cli.core.errors import ProcessLost, UserError
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


def joined_others() -> bool:
    """Whether this process has joined others."""
    return dist.is_initialized()


def weighted_sum(tree: T, weight: float) -> T:
    """`sum over processes of weight * tensor`, of all tensors in one message; equal for all.

    The message has the widest of their types, and each sum that of its tensor.
    """
    leaves, form = tree_flatten(tree)
    message = weight * torch.cat([t.reshape(-1) for t in leaves])
    with _in_contact():
        dist.all_reduce(message)
    pieces = torch.split(message, [t.numel() for t in leaves])
    sums = [piece.view_as(t).to(t) for t, piece in zip(leaves, pieces, strict=True)]
    found: T = tree_unflatten(sums, form)
    return found


def gathered(tree: T) -> list[T]:
    """The trees of tensors of all processes, by rank; they have one form, but for first dimensions.

    All tensors travel in one message.
    """
    leaves, form = tree_flatten(tree)
    sizes = torch.tensor([len(t) if t.ndim else 1 for t in leaves])
    of_all = concatenated(sizes.unsqueeze(0).to(leaves[0].device)).tolist()
    kinds = dict.fromkeys(t.dtype for t in leaves)
    pieces = [[_empty_like(t, rows) for t, rows in zip(leaves, own, strict=True)] for own in of_all]
    for kind in kinds:  # one message per type, so that no value is rounded
        mine = torch.cat([t.reshape(-1) for t in leaves if t.dtype == kind])
        lengths = [sum(t.numel() for t in ts if t.dtype == kind) for ts in pieces]
        padded = mine.new_zeros(max(lengths))
        padded[: len(mine)] = mine
        for rank, row in enumerate(concatenated(padded.unsqueeze(0))):
            start = 0
            for place in pieces[rank]:
                if place.dtype == kind:
                    place.copy_(row[start : start + place.numel()].view_as(place))
                    start += place.numel()
    return [tree_unflatten(ts, form) for ts in pieces]


def _empty_like(tensor: Tensor, rows: int) -> Tensor:
    return tensor.new_empty((rows, *tensor.shape[1:]) if tensor.ndim else ())


def concatenated(tensor: Tensor) -> Tensor:
    """The tensors of all processes, which have one shape, along the first dimension."""
    pieces = [torch.empty_like(tensor) for _ in range(ranks.size())]
    with _in_contact():
        dist.all_gather(pieces, tensor.contiguous())
    return torch.cat(pieces)


def highest(number: int) -> int:
    """The highest of the numbers of all processes."""
    if not joined_others():
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
    if joined_others():
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
    if joined_others():
        with _in_contact():
            dist.broadcast_object_list(made, src=0)
    return made[0]  # type: ignore[return-value]  # None only where T is


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process of each machine leaves the block before the others of it enter."""
    if not joined_others():
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
    if joined_others():
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
