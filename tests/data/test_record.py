"""What a run keeps of its data, when others have written it."""

import json
import re
from typing import Any

import pytest

from maml_cli.data.record import DataRecord

RECORD = {
    "checksum": "x",
    "train_classes": 2,
    "values": [0.5, 1000, False],
    "columns": {"inputs": [["a", 0, 2.5, -1, 1]], "outputs": [["y"]]},
    "splits": {"train": {"cat": [3, "digest"]}},
}


def test_what_is_written_is_read() -> None:
    record = DataRecord.from_json(json.dumps(RECORD))
    assert (record.values, record.train_classes) == ((0.5, 1000, False), 2)
    assert record.splits["train"]["cat"] == (3, "digest")
    assert DataRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"train_classes": float("inf")}, "train_classes: "),
        ({"train_classes": True}, "train_classes: "),
        ({"values": [0, 10**400, False]}, "values.1: "),
        ({"splits": None}, "splits: "),
        ({"splits": {"train": {"a\x1b[2J": [-1, "d"]}}}, r"splits.train.a\x1b[2J.0: "),
        ({"columns": {"inputs": [], "outputs": [["y", 0, 0]]}}, "columns.outputs.0.2: "),
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_is_named(entries: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        DataRecord.from_json(json.dumps(RECORD | entries))


def test_what_is_nested_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="recursion"):
        DataRecord.from_json("[" * 100_000)
