"""Which of the processes of one run this is, as torchrun tells it; imports no torch."""

import os


def size() -> int:
    """How many processes share the run; 1 where nothing but the shell started it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_rank() -> int:
    """The number of this process among those of its machine, from 0: also that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if size() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes and speaks for the run."""
    return rank() == 0


def share(tasks: int, of: int | None = None) -> slice:
    """The tasks of a batch that a process computes, this one or that of rank `of`.

    The shares differ by one task at most.
    """
    number = rank() if of is None else of
    return slice(tasks * number // size(), tasks * (number + 1) // size())
