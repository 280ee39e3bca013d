"""`metrics.jsonl`: one JSON object a line, written as the run goes."""

from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from maml_cli.core.types import Episode
from maml_cli.core.files import storing, to_json
from maml_cli.core.records import EpochRecord, IterationRecord, RunInfo, Sink


class MetricsFile(Sink):
    """Appends records of kind `train` and `val`, and leaves no line in a buffer."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        self._path = info.output_dir / "metrics.jsonl"
        self._open.enter_context(storing(self._path))  # closing writes what is left in the buffer
        with storing(self._path):
            self._file = self._open.enter_context(self._path.open("a", encoding="utf-8"))

    def iteration(self, record: IterationRecord) -> None:
        self._write({"kind": "train", **asdict(record)})

    def epoch(self, record: EpochRecord) -> None:
        val = [estimate._asdict() for estimate in record.val]
        self._write({"kind": "val", **asdict(record), "val": val})

    def close(self) -> None:
        self._open.close()

    def _write(self, fields: dict[str, Any]) -> None:
        with storing(self._path):
            self._file.write(to_json(fields) + "\n")
            self._file.flush()
