"""Checkpoints: one file per epoch, of which the best are kept."""

import io
from pathlib import Path
from typing import Any

import torch

from maml_cli.core.errors import CheckpointError
from maml_cli.core.files import write_atomically
from maml_cli.core.learner import MetaParameters

FORMAT = 1


class Checkpoints:
    """The checkpoints of one run, ranked by validation score, in one directory."""

    def __init__(self, directory: Path, *, keep: int, higher_is_better: bool) -> None:
        self._directory = directory
        self._keep = keep
        self._sign = 1 if higher_is_better else -1
        self._scores: dict[int, float] = {}

    def save(
        self,
        epoch: int,
        iteration: int,
        params: MetaParameters,
        optimizer: dict[str, Any],
        val: float,
    ) -> bool:
        """Keep this epoch, drop what is no longer among the best; whether it is the best so far."""
        content = {
            "format": FORMAT,
            "epoch": epoch,
            "iteration": iteration,
            "theta": params.theta,
            "state": params.state,
            "optimizer": optimizer,
            "val": val,
        }
        write(self._path(epoch), content)
        self._scores[epoch] = val
        for old in set(self._scores) - {*self.best(), epoch}:
            self._path(old).unlink(missing_ok=True)
            del self._scores[old]
        return self.best()[0] == epoch

    def best(self) -> list[int]:
        """The kept epochs, best first; of equal ones the earlier first."""
        ranked = sorted(self._scores, key=lambda epoch: (-self._sign * self._scores[epoch], epoch))
        return ranked[: self._keep]

    def summary(self) -> dict[str, Any]:
        """The best epoch (from 1) and its validation score."""
        epoch = self.best()[0]
        return {"mean": self._scores[epoch], "best_epoch": epoch + 1}

    def load(self, epoch: int, device: torch.device) -> MetaParameters:
        """The meta-parameters of a kept epoch; raises CheckpointError."""
        content = read(self._path(epoch))
        return MetaParameters(theta=content["theta"], state=content["state"]).to(device)

    def _path(self, epoch: int) -> Path:
        return self._directory / f"epoch-{epoch + 1:04d}.pt"


def write(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values so that the file is whole or absent; raises StorageError."""
    buffer = io.BytesIO()  # torch would leave a stump where the disk is full
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; never runs code from the file; raises CheckpointError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage shows as almost any exception, depending on where it is
        raise CheckpointError(f"{path}: not a readable checkpoint ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version (format {FORMAT})")
    return content
