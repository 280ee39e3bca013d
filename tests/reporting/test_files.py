import json
import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from maml_cli.core.errors import StorageError
from maml_cli.core.json_text import to_json
from maml_cli.core.results import RunResults
from maml_cli.reporting.metrics import MetricsFile
from maml_cli.reporting.plots import CurvesFile
from maml_cli.reporting.results import ResultsFile, environment
from maml_cli.reporting.table import TableFile
from maml_cli.reporting.tensorboard import TensorBoard
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder


def test_json_is_strict():
    value = {"a": float("nan"), "b": [1.5, float("-inf")], "c": ("ü", True, None)}
    assert to_json(value) == '{"a": null, "b": [1.5, null], "c": ["ü", true, null]}'


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "results.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")  # a lone surrogate has no UTF-8
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_results_are_read_back_as_they_were(info, results):
    sink = ResultsFile()
    sink.start(info, None)
    sink.finish(results, None)
    text = RunFolder(info.output_dir).results.read_text()
    assert RunResults.from_json(text) == results


def test_metrics_are_readable_at_any_time_and_appended(info, iteration_record, epoch_record):
    path = info.output_dir / "metrics.jsonl"
    path.write_text('{"kind": "train", "iteration": 0}\n')
    sink = MetricsFile()
    sink.start(info, None)
    sink.iteration(iteration_record)
    sink.epoch(epoch_record)
    old, train, val = [json.loads(line) for line in path.read_text().splitlines()]
    sink.close()

    assert old == {"kind": "train", "iteration": 0}
    assert train == {
        "kind": "train",
        "iteration": 10,
        "epoch": 0,
        "loss": 0.5,
        "metric": 0.875,
        "query_losses": {"1": 0.75, "2": 0.25},
        "query_metrics": {"1": 0.5, "2": 0.875},
        "outer_lr": 0.001,
        "iterations_per_second": 4.0,
    }
    assert val == {
        "kind": "val",
        "epoch": 0,
        "iteration": 10,
        "val": [
            {"mean": 0.2, "ci95": 0.01, "n": 600},
            {"mean": 0.625, "ci95": 0.02, "n": 600},
            {"mean": 0.9765, "ci95": 0.0031, "n": 600},
        ],
        "val_steps": [0, 1, 2],
        "best": True,
        "inner_rates": {"head.weight": [0.25, -0.125]},
        "phase": {"order": 2, "step_weights": [0.375, 0.625]},
    }


def test_the_environment_names_what_ran(monkeypatch):
    found = environment(device="cpu", engine="loop")
    assert found.versions["torch"] == torch.__version__
    assert found.versions["python"] == platform.python_version()
    assert found.threads == torch.get_num_threads()
    monkeypatch.setenv("PATH", "")
    assert environment(device="cpu", engine="loop") == replace(
        found, git=None
    )  # without git there is no commit, and no error


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ResultsFile, "results.json"),
        (TableFile, "table.md"),
        (MetricsFile, "metrics.jsonl"),
        (CurvesFile, "curves.png"),
        (TensorBoard, "tensorboard"),
    ],
)
def test_what_cannot_be_written_is_named_with_the_way_out(info, results, curves, kind, name):
    in_the_way = info.output_dir / name
    if name == "tensorboard":
        in_the_way.write_text("a file where a folder should be")
    else:
        in_the_way.mkdir()

    def run(sink):
        sink.start(info, None)
        sink.finish(results, curves)

    with pytest.raises(StorageError, match=r"hydra\.run\.dir=DIR") as caught:
        run(kind())
    assert str(in_the_way) in str(caught.value)
    assert in_the_way.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_storage_error(info, iteration_record, monkeypatch):
    full = Path("/dev/full").open("wb")  # noqa: SIM115 - the sink closes it
    monkeypatch.setattr("maml_cli.reporting.metrics.open_regular", lambda *_: full)
    sink = MetricsFile()
    sink.start(info, None)
    with pytest.raises(StorageError, match="No space left"):
        sink.iteration(iteration_record)
    with pytest.raises(StorageError, match="No space left"):
        sink.close()  # the line is still in the buffer
