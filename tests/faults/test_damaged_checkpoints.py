"""Checkpoints that are damaged, foreign or malicious: never believed, never deleted."""

import builtins
import hashlib
import io
import os
import pickle
import random
import shutil
import zipfile
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from faults.damage import contents, flip, halve
from faults.processes import outcome

from maml_cli.core.errors import CheckpointError
from maml_cli.core.metric import MSE
from maml_cli.storage import checkpoint
from maml_cli.storage.checkpoint import FORMAT, Checkpoints, read

NEWEST = Path("checkpoints") / "epoch-0004.pt"


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.faults_full)])
def test_no_flipped_bit_is_loaded(broken_off, count):
    path, dice = broken_off / NEWEST, random.Random(count)
    whole = path.read_bytes()
    for _ in range(count):
        flip(path, dice.randrange(8 * len(whole)))
        assert path.read_bytes() != whole
        with pytest.raises(CheckpointError, match=r"epoch-0004\.pt"):
            read(path)
        path.write_bytes(whole)
    read(path)


def test_no_truncated_file_is_loaded(broken_off):
    path = broken_off / NEWEST
    whole = path.read_bytes()
    for part in range(60):
        path.write_bytes(whole[: len(whole) * part // 60])
        with pytest.raises(CheckpointError, match=r"epoch-0004\.pt"):
            read(path)


def bit(path: Path) -> None:
    flip(path, 12345)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_content(path: Path) -> None:
    path.write_text("hello")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def bare(path: Path) -> None:
    torch.save({"theta": {}}, path)  # a file of torch's, but without our checksum


def newest(run: Path) -> checkpoint.Found:
    """The checkpoint that the run would go on from."""
    found = Checkpoints(run / "checkpoints", keep=1, metric=MSE).newest()
    assert found is not None
    return found


@pytest.mark.parametrize("damage", [bit, halve, empty, other_content, folder, bare])
def test_a_damaged_newest_is_passed_over_in_words(broken_off, damage):
    damage(broken_off / NEWEST)
    found = newest(broken_off)
    assert found.path.name == "epoch-0003.pt"
    assert "epoch-0004.pt: not a whole checkpoint" in found.problems[0]


@pytest.mark.parametrize(
    "damage",
    [
        *(bit, folder),
        *(
            pytest.param(d, marks=pytest.mark.faults_full)
            for d in (halve, empty, other_content, bare)
        ),
    ],
)
def test_a_damaged_newest_falls_back_with_a_warning(broken_off, run_to, uninterrupted, damage):
    damage(broken_off / NEWEST)
    again = run_to(broken_off)
    assert again.code == 0
    assert "epoch-0004.pt: not a whole checkpoint" in again.err
    assert "goes on after iteration 39 " in again.err
    assert outcome(broken_off) == uninterrupted
    assert (broken_off / "checkpoints" / "epoch-0004.pt.unused").exists()


@pytest.mark.parametrize("damage", [bit, halve, empty])
def test_without_a_whole_checkpoint_nothing_is_touched(broken_off, run_to, damage):
    damaged = sorted((broken_off / "checkpoints").glob("*.pt"))
    for path in damaged:
        damage(path)
    before = contents(broken_off)
    refused = run_to(broken_off)
    assert refused.code == 4
    for path in damaged:
        assert any(str(path) in message for message in refused.errors)
    assert contents(broken_off) == before


class Evil:
    """Calls a function when an unrestricted reader meets it."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def saved(content, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def attacks(mark: Path) -> dict[str, bytes]:
    """Files that make `mark` when an unrestricted `torch.load` reads them."""
    weights = {"format": FORMAT, "theta": torch.zeros(2)}
    command = f"touch '{mark}'"
    inside = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(weights))) as good, zipfile.ZipFile(inside, "w") as bad:
        for name in good.namelist():
            evil = pickle.dumps(Evil(os.system, command), 2)
            bad.writestr(name, evil if name.endswith("data.pkl") else good.read(name))
    return {
        "os.system among the weights": saved({**weights, "evil": Evil(os.system, command)}),
        "builtins.eval": saved(Evil(eval, f"__import__('os').system({command!r})")),
        "a file of the old form": saved(
            {**weights, "evil": Evil(os.system, command)}, _use_new_zipfile_serialization=False
        ),
        "a bare pickle": pickle.dumps(Evil(builtins.exec, f"open({str(mark)!r}, 'w').close()"), 2),
        "a changed pickle in a good archive": inside.getvalue(),
    }


def place(attack: bytes, path: Path) -> None:
    path.write_bytes(attack + hashlib.sha256(attack).digest())  # an attacker knows the checksum


@pytest.mark.parametrize("name", attacks(Path("mark")))
def test_a_malicious_checkpoint_is_refused_without_effect(broken_off, name, tmp_path):
    mark = tmp_path / "mark"
    attack = attacks(mark)[name]
    place(attack, broken_off / NEWEST)
    with pytest.raises(CheckpointError, match=r"epoch-0004\.pt"):
        read(broken_off / NEWEST)
    assert newest(broken_off).path.name == "epoch-0003.pt"
    assert not mark.exists()
    if name == "a bare pickle":
        pickle.loads(attack)  # noqa: S301 - made above
    else:
        torch.load(io.BytesIO(attack), weights_only=False)
    assert mark.exists()  # the fault is real


def test_a_run_passes_malicious_checkpoints_over(broken_off, run_to, tmp_path):
    mark = tmp_path / "mark"
    evil = attacks(mark)
    place(evil["os.system among the weights"], broken_off / NEWEST)
    place(evil["a bare pickle"], broken_off / "checkpoints" / "epoch-0003.pt")
    ended = run_to(broken_off)
    assert ended.code == 0
    assert "goes on after iteration 26 " in ended.err
    assert not mark.exists()


def test_another_configuration_is_refused_by_its_keys(broken_off, run_to):
    refused = run_to(broken_off, "seed=5", "train.outer_lr=0.01")
    assert refused.code == 4
    assert sorted(refused.errors[1:]) == [
        "seed: it has 0, now asked for is 5",
        "train.outer_lr: it has 0.001, now asked for is 0.01",
    ]


def test_another_algorithm_or_data_set_is_refused(broken_off, run_to):
    refused = run_to(broken_off, "algo=mamlpp")
    assert refused.code == 4
    assert "algo.name: it has maml, now asked for is mamlpp" in refused.errors


def test_checkpoints_of_another_format_are_refused(broken_off, run_to):
    for path in (broken_off / "checkpoints").glob("*.pt"):
        checkpoint.write(path, {**read(path), "format": FORMAT - 1})
    refused = run_to(broken_off)
    assert refused.code == 4
    assert f"epoch-0004.pt: not a checkpoint of this version (format {FORMAT})" in refused.err


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


def test_only_unfinished_writes_are_deleted(broken_off):
    checkpoints_dir = broken_off / "checkpoints"
    (checkpoints_dir / ".epoch-0005.pt.77").write_text("half")
    (checkpoints_dir / "notes.txt").write_text("mine")
    checkpoints = Checkpoints(checkpoints_dir, keep=1, metric=MSE)
    copy = shutil.copy(checkpoints_dir / "epoch-0004.pt", checkpoints_dir / checkpoint.PARTIAL)
    assert checkpoints.newest().path == Path(copy)
    checkpoints.tidy(checkpoints.newest())
    assert not (checkpoints_dir / ".epoch-0005.pt.77").exists()
    assert (checkpoints_dir / "notes.txt").read_text() == "mine"


def test_best_epochs_whose_files_are_gone_take_no_part(tmp_path, run_to, monkeypatch):
    run, ensemble = tmp_path / "run", "eval.ensemble=4"
    with monkeypatch.context() as fault:
        fault.setattr(Checkpoints, "load", Mock(side_effect=CheckpointError("broken off")))
        assert run_to(run, ensemble).code == 4
    for gone in (1, 3):
        (run / "checkpoints" / f"epoch-000{gone}.pt").unlink()
    ended = run_to(run, ensemble)
    assert ended.code == 0
    said = "the files of epochs 1, 3, among the best so far, were not there"
    assert said in ended.err
    table = (run / "table.md").read_text()
    assert said in table
    assert "averages the outputs of 2 epochs" in table
