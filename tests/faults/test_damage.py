"""Damaged checkpoints, full disks, numbers that are not finite, two processes in one folder."""

import errno
import random
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from faults.conftest import outcome

from maml_cli.algos.maml import GradientLearner
from maml_cli.core import files
from maml_cli.core.errors import CheckpointError
from maml_cli.core.files import locked
from maml_cli.training import checkpoint
from maml_cli.training.checkpoint import Checkpoints, read


@pytest.fixture
def broken_off(tmp_path, run_to, monkeypatch):
    """The folder of a run whose test never came: `epoch-0002.pt` to `0004` are there."""
    with monkeypatch.context() as fault:
        fault.setattr(Checkpoints, "load", Mock(side_effect=CheckpointError("broken off")))
        assert run_to(tmp_path / "run").code == 4
    return tmp_path / "run"


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def refused_flips(path: Path, count: int) -> int:
    whole, dice = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(count):
        flip(path, dice.randrange(8 * len(whole)))
        assert path.read_bytes() != whole
        try:
            read(path)
        except CheckpointError:
            refused += 1
        path.write_bytes(whole)
    read(path)
    return refused


def test_no_flipped_bit_is_loaded(broken_off):
    assert refused_flips(broken_off / "checkpoints" / "epoch-0004.pt", 100) == 100


@pytest.mark.faults_full
def test_no_flipped_bit_of_a_thousand_is_loaded(broken_off):
    assert refused_flips(broken_off / "checkpoints" / "epoch-0004.pt", 1000) == 1000


def test_no_truncated_file_is_loaded(broken_off):
    path = broken_off / "checkpoints" / "epoch-0004.pt"
    whole = path.read_bytes()
    for part in range(60):
        path.write_bytes(whole[: len(whole) * part // 60])
        with pytest.raises(CheckpointError, match=r"epoch-0004\.pt"):
            read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"epoch-0004\.pt"):
        read(path)


def test_a_damaged_newest_falls_back_with_a_warning(broken_off, run_to, uninterrupted):
    flip(broken_off / "checkpoints" / "epoch-0004.pt", 12345)
    again = run_to(broken_off)
    assert again.code == 0
    assert "epoch-0004.pt: not a whole checkpoint" in again.err
    assert "goes on after iteration 39 " in again.err
    assert outcome(broken_off) == uninterrupted
    assert (broken_off / "checkpoints" / "epoch-0004.pt.unused").exists()


def test_without_a_whole_checkpoint_nothing_is_touched(broken_off, run_to):
    damaged = sorted((broken_off / "checkpoints").glob("*.pt"))
    for path in damaged:
        flip(path, 12345)
    before = {path: path.read_bytes() for path in broken_off.rglob("*") if path.is_file()}
    refused = run_to(broken_off)
    assert refused.code == 4
    for path in damaged:
        assert any(str(path) in message for message in refused.errors)
    assert {p: p.read_bytes() for p in broken_off.rglob("*") if p.is_file()} == before


def test_another_configuration_is_refused_by_its_keys(broken_off, run_to):
    refused = run_to(broken_off, "seed=5", "train.outer_lr=0.01")
    assert refused.code == 4
    assert sorted(refused.errors[1:]) == [
        "seed: it has 0, now asked for is 5",
        "train.outer_lr: it has 0.001, now asked for is 0.01",
    ]


def test_resume_never_and_resume_of_a_folder(broken_off, run_to, tmp_path):
    assert run_to(broken_off, "resume=never").code == 2
    nothing = run_to(tmp_path / "new", f"resume={tmp_path / 'new'}")
    assert nothing.code == 4
    assert "no checkpoint" in nothing.errors[0]


def test_a_finished_run_shows_its_table_again(tmp_path, run_to):
    first = run_to(tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_bytes()
    again = run_to(tmp_path / "run")
    assert (first.code, again.code) == (0, 0)
    assert again.out == (tmp_path / "run" / "table.md").read_text()
    assert (tmp_path / "run" / "results.json").read_bytes() == before


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_full_disk_keeps_what_there_was(tmp_path, run_to, monkeypatch, uninterrupted, epoch):
    real, faults = files.os.fsync, []

    def fsync(descriptor: int) -> None:
        folder = tmp_path / "run" / "checkpoints"
        if list(folder.glob(f".epoch-{epoch:04d}.pt.*")):
            faults.append(descriptor)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as fault:
        fault.setattr(files.os, "fsync", fsync)
        full = run_to(tmp_path / "run")
    assert faults
    assert full.code == 6
    assert f"epoch-{epoch:04d}.pt: cannot be written (No space left on device)" in full.errors[0]
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    assert run_to(tmp_path / "run").code == 0
    assert outcome(tmp_path / "run") == uninterrupted


def test_a_second_process_is_refused(tmp_path, run_to):
    with locked(tmp_path / "run"):
        refused = run_to(tmp_path / "run")
    assert refused.code == 4
    assert "another process is writing this run" in refused.errors[0]
    assert run_to(tmp_path / "run").code == 0


def with_fault(monkeypatch, iterations, what, value):
    """Put a value into the loss or the meta-gradient of these iterations (from 0)."""
    real, injected = GradientLearner.meta_gradient, []

    def meta_gradient(self, params, episodes, progress):
        step = real(self, params, episodes, progress)
        if progress.iteration not in iterations:
            return step
        injected.append(progress.iteration)
        if what == "loss":
            return replace(step, loss=torch.tensor(value))
        name = next(iter(step.gradient))
        return replace(step, gradient={**step.gradient, name: step.gradient[name] + value})

    monkeypatch.setattr(GradientLearner, "meta_gradient", meta_gradient)
    return injected


@pytest.mark.parametrize(
    ("iteration", "what", "value"),
    [(0, "loss", float("nan")), (30, "gradient", float("inf")), (51, "gradient", float("nan"))],
)
def test_what_is_not_finite_ends_the_run_before_the_update(
    tmp_path, run_to, monkeypatch, uninterrupted, iteration, what, value
):
    with monkeypatch.context() as fault:
        injected = with_fault(fault, {iteration}, what, value)
        diverged = run_to(tmp_path / "run")
    assert injected == [iteration]
    assert diverged.code == 5
    assert f"at iteration {iteration + 1} (training episodes {2 * iteration} to " in diverged.err
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        assert all(t.isfinite().all() for t in read(path)["theta"].values())
    assert run_to(tmp_path / "run").code == 0
    assert outcome(tmp_path / "run") == uninterrupted


def test_what_is_not_finite_can_be_passed_over(tmp_path, run_to, monkeypatch):
    injected = with_fault(monkeypatch, {3, 4, 30}, "gradient", float("nan"))
    assert run_to(tmp_path / "run", "train.on_nonfinite=skip").code == 0
    assert injected == [3, 4, 30]
    content = read(tmp_path / "run" / "checkpoints" / "epoch-0004.pt")
    assert content["skipped"] == 3
    assert all(t.isfinite().all() for t in content["theta"].values())


def test_passing_over_has_a_limit(tmp_path, run_to, monkeypatch):
    monkeypatch.setattr("maml_cli.training.loop.SKIP_LIMIT", 2)
    with_fault(monkeypatch, {3, 4, 30}, "gradient", float("nan"))
    diverged = run_to(tmp_path / "run", "train.on_nonfinite=skip")
    assert diverged.code == 5
    assert "3 iterations were passed over, 2 may be" in diverged.errors[0]


def test_a_file_in_place_of_the_checkpoints(tmp_path, run_to):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("mine")
    assert run_to(tmp_path / "run").code == 6
    assert (tmp_path / "run" / "checkpoints").read_text() == "mine"


def test_only_unfinished_writes_are_deleted(broken_off):
    folder = broken_off / "checkpoints"
    (folder / ".epoch-0005.pt.77").write_text("half")
    (folder / "notes.txt").write_text("mine")
    checkpoints = Checkpoints(folder, keep=1, higher_is_better=False)
    copy = shutil.copy(folder / "epoch-0004.pt", folder / checkpoint.PARTIAL)
    assert checkpoints.newest().path == Path(copy)
    checkpoints.tidy(checkpoints.newest())
    assert not (folder / ".epoch-0005.pt.77").exists()
    assert (folder / "notes.txt").read_text() == "mine"
