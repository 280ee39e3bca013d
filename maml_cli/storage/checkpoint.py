"""Checkpoints: one file per epoch, of which the last and the best are kept, and one in between."""

import hashlib
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from maml_cli.core.algorithm import MetaParameters, nested
from maml_cli.core.errors import CheckpointError
from maml_cli.core.limits import CHECKPOINT_BYTES
from maml_cli.core.metric import Metric
from maml_cli.core.regular_files import read_regular
from maml_cli.core.results import Validation
from maml_cli.core.tensor_files import load_tensors
from maml_cli.storage.checkpoint_schema import faults
from maml_cli.storage.files import storing, write_atomically

FORMAT = 2
KEPT_LAST = 3
PARTIAL = "partial.pt"
LEFTOVER = re.compile(r"\.(epoch-\d+|partial)\.pt\.[0-9a-f]+")
"""A write that was not finished; see `write_atomically`."""
DIGEST_BYTES = hashlib.sha256().digest_size


class Found(NamedTuple):
    """A whole checkpoint, and what is wrong with those that are newer."""

    path: Path
    content: dict[str, Any]
    problems: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run in one directory.

    `epoch-0001.pt` and so on hold the run after that epoch and its validation, `partial.pt` the run
    within the epoch after. Each has its whole history of scores, by which the best are ranked.
    """

    def __init__(self, directory: Path, *, keep: int, metric: Metric) -> None:
        self._directory = directory
        self._keep = keep
        self._metric = metric

    def save(self, content: Mapping[str, Any]) -> None:
        """Keep the run after its last epoch; drop what is neither recent nor among the best."""
        epoch: int = content["epoch"]
        write(self.path(epoch - 1), content)
        kept = {*self.best(content["scores"]), *range(epoch - KEPT_LAST, epoch)}
        with storing(self._directory):
            for old in set(content["scores"]) - kept:
                self.path(old).unlink(missing_ok=True)
            (self._directory / PARTIAL).unlink(missing_ok=True)

    def save_partial(self, content: Mapping[str, Any]) -> None:
        """Keep the run as it stands, until its epoch ends."""
        write(self._directory / PARTIAL, content)

    def best(self, scores: Mapping[int, float]) -> list[int]:
        """The best epochs (from 0), best first; of equal ones the earlier first."""
        ranked = sorted(scores, key=lambda epoch: (self._cost(scores[epoch]), epoch))
        return ranked[: self._keep]

    def present(self, scores: Mapping[int, float]) -> dict[int, float]:
        """The scores; of the epochs that are still here, if a file of the best ones is missing."""
        here = {epoch: score for epoch, score in scores.items() if self.path(epoch).is_file()}
        return dict(scores) if here.keys() >= {*self.best(scores)} else here

    def hopeful(self, scores: Mapping[int, float], patience: int | None) -> bool:
        """Whether one of the last `patience` epochs is the best of all; None: always."""
        return not scores or patience is None or max(scores) - self.best(scores)[0] < patience

    def validation(self, scores: Mapping[int, float]) -> Validation:
        """The best epoch and its validation score."""
        epoch = self.best(scores)[0]
        return Validation(mean=scores[epoch], best_epoch=epoch + 1)

    def load(self, epoch: int, device: torch.device) -> MetaParameters:
        """The meta-parameters after an epoch; raises CheckpointError."""
        content = whole(self.path(epoch))
        theta, state = nested(content["theta"]), nested(content["state"])
        return MetaParameters(theta=theta, state=state).to(device)

    def newest(self) -> Found | None:
        """The newest whole checkpoint; None if there is none at all.

        A checkpoint is whole if the best ones before it are, as far as they still exist. Raises
        CheckpointError, with the reason for each file, if there are files but none is whole.
        """
        problems: list[str] = []
        for path in self._newest_first():
            try:
                content = whole(path)
                for epoch in self.best(content["scores"]):
                    if self.path(epoch).exists():
                        whole(self.path(epoch))
            except CheckpointError as error:
                problems += error.messages
            else:
                return Found(path, content, tuple(dict.fromkeys(problems)))
        if problems:
            raise CheckpointError(
                *dict.fromkeys(problems),
                "no checkpoint is left to go on from; nothing was deleted: put back a copy of one, "
                "or start anew in another folder",
            )
        return None

    def tidy(self, found: Found | None) -> None:
        """Rename what is newer to `*.unused`, as it will be made again; drop unfinished writes."""
        newest_first = self._newest_first()
        newer = newest_first[: newest_first.index(found.path)] if found else []
        with storing(self._directory):
            for path in newer:
                path.replace(path.with_name(f"{path.name}.unused"))
            for leftover in self._directory.glob(".*.pt.*"):
                if LEFTOVER.fullmatch(leftover.name):
                    leftover.unlink()

    def _newest_first(self) -> list[Path]:
        return sorted(self._directory.glob("*.pt"), key=_number, reverse=True)

    def path(self, epoch: int) -> Path:
        """The file of the run after an epoch (from 0), whether it is there or not."""
        return self._directory / f"epoch-{epoch + 1:04d}.pt"

    def _cost(self, score: float) -> float:
        return math.inf if math.isnan(score) else -self._metric.to_maximize(score)


def _number(path: Path) -> float:
    """Epochs done, by the file's name; a partial one is always the newest."""
    match = re.fullmatch(r"epoch-(\d+)\.pt", path.name)
    return int(match[1]) if match else math.inf


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values so that the file is whole or absent; raises StorageError.

    The SHA-256 of torch's bytes follows them; `torch.load` reads the file as it is.
    """
    buffer = io.BytesIO()  # torch would leave a stump where the disk is full
    torch.save({"format": FORMAT, **content}, buffer)
    data = buffer.getvalue()
    write_atomically(path, data + hashlib.sha256(data).digest())


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; never runs code from the file; raises CheckpointError."""
    try:
        data = read_regular(path, CHECKPOINT_BYTES)
        data, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            raise ValueError("its bytes do not have its checksum")
        content = load_tensors(data)
    except Exception as error:  # damage shows as almost any exception, depending on where it is
        said = error.strerror if isinstance(error, OSError) else str(error)
        reason = next(iter(str(said).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path}: not a whole checkpoint ({reason})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version (format {FORMAT})")
    return content


def whole(path: Path) -> dict[str, Any]:
    """The content of a checkpoint that holds all that a run needs; raises CheckpointError."""
    content = read(path)
    wrong = faults(content)
    done = _number(path)
    if not wrong and done not in (content["epoch"], math.inf):
        wrong = [f"epoch is {content['epoch']}, but the file's name says {done}"]
    if wrong:
        raise CheckpointError(f"{path}: not a whole checkpoint ({'; '.join(wrong[:5])})")
    return content
