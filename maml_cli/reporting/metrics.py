"""`metrics.jsonl`: one JSON object a line, written as the run goes."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maml_cli.core.json_text import to_json
from maml_cli.core.limits import METRICS_BYTES
from maml_cli.core.records import EpochRecord, IterationRecord, RunInfo, Sink
from maml_cli.core.regular_files import open_regular, read_regular
from maml_cli.core.types import Episode
from maml_cli.storage.files import storing, write_atomically
from maml_cli.storage.run_folder import RunFolder


class MetricsFile(Sink):
    """Appends records of kind `train` and `val`, and leaves no line in a buffer."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = RunFolder(info.output_dir).metrics
        self._open.enter_context(storing(self._path))  # closing writes what is left in the buffer
        _cut(self._path, info)
        with storing(self._path):
            file = open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            self._file = self._open.enter_context(io.TextIOWrapper(file, encoding="utf-8"))

    def iteration(self, record: IterationRecord) -> None:
        self._write({"kind": "train", **asdict(record)})

    def epoch(self, record: EpochRecord) -> None:
        val = [estimate._asdict() for estimate in record.val.values()]
        self._write({"kind": "val", **asdict(record), "val": val, "val_steps": list(record.val)})

    def flush(self) -> None:
        with storing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._open.close()

    def _write(self, fields: dict[str, Any]) -> None:
        with storing(self._path):
            self._file.write(to_json(fields) + "\n")
            self._file.flush()


def _cut(path: Path, info: RunInfo) -> None:
    """Drop what an interrupted run wrote after the checkpoint from which this one goes on."""
    if path.is_file():
        with storing(path):
            lines = read_regular(path, METRICS_BYTES).splitlines(keepends=True)
        kept = list(_before(lines, info))
        if len(kept) < len(lines):
            write_atomically(path, b"".join(kept))


def _before(lines: list[bytes], info: RunInfo) -> Iterator[bytes]:
    for line in lines:
        try:
            record = json.loads(line)
            done = (
                record["iteration"] <= info.start_iteration
                if record["kind"] == "train"
                else record["epoch"] < info.start_epoch
            )
        except (ValueError, TypeError, KeyError, RecursionError):  # half a line
            return
        if not done:
            return
        yield line
