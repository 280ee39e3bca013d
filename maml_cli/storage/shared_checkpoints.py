"""The checkpoints of a run that several processes share."""

from collections.abc import Mapping
from typing import Any

import torch

from maml_cli.core.algorithm import MetaParameters
from maml_cli.distributed import ranks
from maml_cli.distributed.collectives import from_first
from maml_cli.storage.checkpoint import Checkpoints, Found


class SharedCheckpoints(Checkpoints):
    """The first process reads and writes the files; the others are told what it read.

    So the others need no common file system. A process alone is the first.
    """

    def save(self, content: Mapping[str, Any]) -> None:
        if ranks.is_first():
            super().save(content)

    def save_partial(self, content: Mapping[str, Any]) -> None:
        if ranks.is_first():
            super().save_partial(content)

    def load(self, epoch: int, device: torch.device) -> MetaParameters:
        read = super().load
        return from_first(lambda: read(epoch, torch.device("cpu"))).to(device)

    def newest(self) -> Found | None:
        return from_first(super().newest)

    def present(self, scores: Mapping[int, float]) -> dict[int, float]:
        of_first = super().present
        return from_first(lambda: of_first(scores))

    def tidy(self, found: Found | None) -> None:
        clear = super().tidy
        from_first(lambda: clear(found))
