"""`metrics.jsonl`: one JSON object a line, written as the run goes."""

from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from typing_extensions import override

from maml_cli.core.types import Episode
from maml_cli.reporting.files import to_json
from maml_cli.reporting.records import EpochRecord, IterationRecord, RunInfo, Sink


class MetricsFile(Sink):
    """Appends records of kind `train` and `val`, and leaves no line in a buffer."""

    def __init__(self) -> None:
        self._open = ExitStack()

    @override
    def start(self, info: RunInfo, preview: Episode | None) -> None:
        path = info.output_dir / "metrics.jsonl"
        self._file = self._open.enter_context(path.open("a", encoding="utf-8"))

    @override
    def iteration(self, record: IterationRecord) -> None:
        self._write({"kind": "train", **asdict(record)})

    @override
    def epoch(self, record: EpochRecord) -> None:
        val = [estimate._asdict() for estimate in record.val]
        self._write({"kind": "val", **asdict(record), "val": val})

    @override
    def close(self) -> None:
        self._open.close()

    def _write(self, fields: dict[str, Any]) -> None:
        self._file.write(to_json(fields) + "\n")
        self._file.flush()
