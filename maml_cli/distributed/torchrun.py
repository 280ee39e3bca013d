"""`maml-train` as one of the processes that torchrun starts; imports torch only if it is one."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from maml_cli.core.errors import ProcessLost, UsageError, UserError
from maml_cli.distributed import ranks


def joined() -> AbstractContextManager[None]:
    """Within, this process is in contact with those that share the run."""
    if ranks.size() == 1:
        return nullcontext()
    from maml_cli.distributed import collectives

    return collectives.joined()


def own_arguments(words: list[str], *, multirun: bool) -> list[str]:
    """What Hydra is given in this process; raises UsageError for what processes cannot share."""
    if ranks.size() == 1:
        return words
    if multirun:
        raise UsageError(
            "a sweep cannot be shared by the processes that torchrun starts: leave out --multirun, "
            "or torchrun; jobs side by side are hydra/launcher=joblib"
        )
    in_place = any(word.startswith("hydra.run.dir=") for word in words)
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) and not in_place:
        raise UsageError(
            "torchrun --max-restarts: a run that is started again finds what there is of it by its "
            "folder: add hydra.run.dir=DIR"
        )
    return words if ranks.is_first() else [*words, "hydra.run.dir=."]  # it makes no folder


def leaves_it_unsaid(error: UserError) -> bool:
    """Whether it is the first process that says what went wrong; returns once that has ended."""
    if ranks.is_first() or isinstance(error, ProcessLost):
        return False
    from maml_cli.distributed import collectives

    collectives.await_end_of_first()
    return True
