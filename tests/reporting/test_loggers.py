"""Loggers beside TensorBoard: what a page of theirs would show, also of a run that was resumed."""

import json
import socket
import struct
from dataclasses import replace

import pytest
import torch
from PIL import Image
from results import BANDS, changed

from maml_cli.commands.train import main
from maml_cli.core import settings
from maml_cli.core.types import Episode
from maml_cli.reporting.mlflow_store import MlflowStore
from maml_cli.reporting.wandb_run import WandbRun

KEY, LABELS = torch.zeros(2, dtype=torch.int64), torch.arange(5)
IMAGES = Episode(torch.rand(5, 1, 8, 8), LABELS, torch.rand(5, 1, 8, 8), LABELS, LABELS, KEY)
TRAINED = {
    ("train/loss", 10): 0.5,
    ("train/accuracy", 10): 0.875,
    ("train/query_loss/step_1", 10): 0.75,
    ("train/query_loss/step_2", 10): 0.25,
    ("train/accuracy/step_1", 10): 0.5,
    ("train/accuracy/step_2", 10): 0.875,
    ("train/outer_lr", 10): 0.001,
    ("train/iterations_per_second", 10): 4.0,
    ("phase/order", 10): 2.0,
    ("val/accuracy", 10): 0.9765,
    ("val/accuracy_ci95", 10): 0.0031,
    ("val/accuracy/step_0", 10): 0.2,
    ("val/accuracy/step_1", 10): 0.625,
    ("val/accuracy/step_2", 10): 0.9765,
    ("inner_rates/head.weight/step_1", 10): 0.25,
    ("inner_rates/head.weight/step_2", 10): -0.125,
    ("step_weights/step_1", 10): 0.375,
    ("step_weights/step_2", 10): 0.625,
}
RESUMED = {("train/loss", 20): 0.25}
TESTED = {
    ("test/accuracy", 2000): 0.9765,
    ("test/accuracy_ci95", 2000): 0.0031,
    ("test/accuracy_single", 2000): 0.96,
    ("test/accuracy_single_ci95", 2000): 0.005,
    ("test/nll", 2000): 1.5,
}


@pytest.fixture
def nothing_is_sent(monkeypatch):
    connect = socket.socket.connect

    def local(self, address):
        assert self.family == socket.AF_UNIX, address
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


def run_twice(logger, info, iteration_record, epoch_record, results):
    """A run that ends after its first epoch, and goes on to its end."""
    with_picture = info.output_dir / "reliability.png"
    Image.new("RGB", (3, 2)).save(with_picture)
    (info.output_dir / "table.md").write_text("| a table |\n")
    first = logger()
    first.start(info, IMAGES)
    first.iteration(iteration_record)
    first.epoch(epoch_record)
    first.flush()
    first.close()
    second = logger()
    second.start(replace(info, start_iteration=10, start_epoch=1), IMAGES)
    second.iteration(replace(iteration_record, iteration=20, loss=0.25))
    second.finish(changed(results, calibration=BANDS), None)
    second.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's own use of packages
@pytest.mark.usefixtures("nothing_is_sent")
def test_mlflow_has_settings_scalars_with_steps_and_files_in_one_run(
    info, iteration_record, epoch_record, results
):
    for package in settings.EXTRAS["mlflow"]:
        pytest.importorskip(package, reason="needs maml-train[mlflow]")
    run_twice(MlflowStore, info, iteration_record, epoch_record, results)

    from mlflow import MlflowClient

    folder = info.output_dir / "mlflow"
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("omniglot").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "mamlpp on omniglot, 5-way 1-shot, seed 7"
    assert run.data.tags["command"] == "maml-train algo=mamlpp dataset=omniglot"
    assert run.data.params == {
        "algo.msl": "True",
        "train.outer_lr": "0.001",
        "ways": "5",
        "algo": "mamlpp",
    }
    points = [
        point
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    ]
    found = {(point.key, point.step): point.value for point in points}
    assert len(found) == len(points)  # nothing is there twice
    expected = TRAINED | RESUMED | TESTED
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert {step for _, step in found} == {10, 20, 2000}

    kept = folder / "mlartifacts" / run.info.run_id / "artifacts"
    assert run.info.artifact_uri == f"mlflow-artifacts:/{run.info.run_id}/artifacts"
    names = sorted(path.name for path in kept.iterdir())
    assert names == ["episode.png", "reliability.png", "table.md"]
    with Image.open(kept / "reliability.png") as picture:
        assert picture.size == (3, 2)
    assert (kept / "table.md").read_text() == "| a table |\n"


def test_wandb_has_settings_scalars_with_steps_and_pictures_under_one_number(
    info, iteration_record, epoch_record, results
):
    pytest.importorskip("wandb", reason="needs maml-train[wandb]")
    run_twice(WandbRun, info, iteration_record, epoch_record, results)

    first, second = sorted((info.output_dir / "wandb").glob("offline-run-*/run-*.wandb"))
    assert first.name == second.name
    before, after = list(wandb_records(first)), list(wandb_records(second))
    [begun] = [record.run for record in before if record.HasField("run")]
    assert begun.display_name == "mamlpp on omniglot, 5-way 1-shot, seed 7"
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert {"algo.msl": True, "train.outer_lr": 0.001, "ways": 5, "algo": "mamlpp"}.items() <= (
        config.items()
    )
    assert scalars(before) == pytest.approx(TRAINED)
    found, expected = scalars(after), RESUMED | TESTED
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert {step for _, step in found} == {20, 2000}
    assert (pictures(before), pictures(after)) == ({"episode"}, {"reliability"})


def wandb_records(path):
    """The records of a file of W&B: blocks of 32 KiB with parts of at most that length."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, record = path.read_bytes(), 7, b""  # after the file's own header
    while at < len(content):
        if (left := -at % 32768) and left < 7:  # no header fits in the rest of the block
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def logged(records):
    """(keys, value, step) of everything that was logged; a picture has keys for its parts."""
    for record in records:
        items = {
            tuple(item.nested_key): json.loads(item.value_json) for item in record.history.item
        }
        for keys, value in items.items():
            yield keys, value, items[("step",)]


def scalars(records):
    return {
        (keys[0], step): value
        for keys, value, step in logged(records)
        if len(keys) == 1 and keys[0] != "step" and not keys[0].startswith("_")
    }


def pictures(records):
    return {keys[0] for keys, value, _ in logged(records) if value == "image-file"}


def test_a_logger_that_is_not_installed_is_refused_before_the_start(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings, "find_spec", lambda name: None if name == "alembic" else name)
    run = ["dataset=sinusoid", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main([*run, "logger=[tensorboard,mlflow]", "ways=0"]) == 2
    said = capsys.readouterr().err
    assert "logger=[tensorboard,mlflow]: alembic must be installed" in said
    assert 'pip install "maml-train[mlflow]"' in said
    assert "ways=0" in said  # everything wrong is said at once
    assert not (tmp_path / "run").exists()
    assert main([*run, "logger=[comet]"]) == 2
    assert "tensorboard, mlflow or wandb" in capsys.readouterr().err
