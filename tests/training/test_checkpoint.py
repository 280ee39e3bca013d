"""Checkpoints: the last and the best are kept, content survives, damage is noticed."""

import pytest
import torch

from maml_cli.core.errors import CheckpointError, StorageError
from maml_cli.core.metric import ACCURACY, MSE
from maml_cli.core.results import Validation
from maml_cli.storage.checkpoint import FORMAT, Checkpoints, read, write

CPU = torch.device("cpu")


def content(scores: list[float]) -> dict:
    """A run after so many epochs; its weight is the number of epochs."""
    return {
        "config": "",
        "machine": {
            "processes": 1,
            "threads": 1,
            "engine": "loop",
            "device": "cpu",
            "torch": "2.13",
        },
        "iteration": len(scores),
        "epoch": len(scores),
        "scores": dict(enumerate(scores)),
        "recent_seconds": 0.0,
        "seconds": 1.0,
        "skipped": 0,
        "optimizer": {"state": {}, "param_groups": []},
        "recent": [],
        "theta": {"model.w": torch.tensor([float(len(scores))])},
        "state": {"running.m": torch.tensor([-float(len(scores))])},
    }


def saved(directory, scores, **kwargs):
    checkpoints = Checkpoints(directory, **{"keep": 2, "metric": ACCURACY, **kwargs})
    for done in range(1, len(scores) + 1):
        checkpoints.save(content(scores[:done]))
    return checkpoints


def names(directory):
    return sorted(p.name for p in directory.iterdir())


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # one bit
    path.write_bytes(data)


def test_the_last_three_and_the_best_are_kept(tmp_path):
    scores = [0.5, 0.9, 0.7, 0.9, 0.1, 0.2, 0.3]
    checkpoints = saved(tmp_path, scores)
    assert checkpoints.best(dict(enumerate(scores))) == [1, 3]  # of equal ones the earlier first
    assert names(tmp_path) == [f"epoch-000{n}.pt" for n in (2, 4, 5, 6, 7)]
    assert checkpoints.load(3, CPU).theta["model"]["w"].item() == 4.0
    assert checkpoints.load(3, CPU).state["running"]["m"].item() == -4.0
    best = checkpoints.validation(dict(enumerate(scores)))
    assert best == Validation(mean=0.9, best_epoch=2)


def test_for_an_error_less_is_better_and_nan_is_worst(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3, metric=MSE)
    assert checkpoints.best({0: float("nan"), 1: 3.0, 2: 1.0, 3: 2.0}) == [2, 3, 1]


def test_the_newest_is_the_partial_one_until_its_epoch_ends(tmp_path):
    checkpoints = saved(tmp_path, [0.5])
    checkpoints.save_partial(content([0.5]))
    assert checkpoints.newest().path.name == "partial.pt"
    checkpoints.save(content([0.5, 0.6]))
    assert names(tmp_path) == ["epoch-0001.pt", "epoch-0002.pt"]
    assert checkpoints.newest().path.name == "epoch-0002.pt"


def test_without_files_there_is_no_checkpoint(tmp_path):
    assert Checkpoints(tmp_path / "none", keep=1, metric=ACCURACY).newest() is None


def test_a_damaged_newest_falls_back_and_is_set_aside(tmp_path):
    checkpoints = saved(tmp_path, [0.1, 0.2, 0.3])
    (tmp_path / ".epoch-0004.pt.123").write_bytes(b"killed while writing")
    damage(tmp_path / "epoch-0003.pt")
    found = checkpoints.newest()
    assert found.content["epoch"] == 2
    assert "epoch-0003.pt" in found.problems[0]
    checkpoints.tidy(found)
    assert names(tmp_path) == ["epoch-0001.pt", "epoch-0002.pt", "epoch-0003.pt.unused"]


def test_a_checkpoint_whose_best_is_damaged_is_not_whole(tmp_path):
    checkpoints = saved(tmp_path, [0.1, 0.9, 0.2, 0.3, 0.4])
    damage(tmp_path / "epoch-0002.pt")  # among the best of all later ones; epoch 1 was dropped
    with pytest.raises(CheckpointError) as error:
        checkpoints.newest()
    assert "epoch-0002.pt" in error.value.messages[0]
    assert "nothing was deleted" in error.value.messages[-1]
    assert names(tmp_path) == [f"epoch-000{n}.pt" for n in (2, 3, 4, 5)]


@pytest.mark.parametrize("damaged", [b"", b"garbage", None])
def test_a_damaged_file_is_refused_by_name(tmp_path, damaged):
    checkpoints = saved(tmp_path, [0.5])
    path = tmp_path / "epoch-0001.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damaged is None else damaged)
    with pytest.raises(CheckpointError, match=r"epoch-0001\.pt"):
        checkpoints.load(0, CPU)


def test_a_file_of_another_format_is_refused(tmp_path):
    write(tmp_path / "old.pt", {"format": FORMAT - 1})
    with pytest.raises(CheckpointError, match="format"):
        read(tmp_path / "old.pt")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"

    class Evil:
        def __reduce__(self):
            return (type(trace).touch, (trace,))

    write(path, {"theta": Evil()})
    with pytest.raises(CheckpointError):
        read(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the fault is real: an unguarded load runs it
    assert trace.exists()


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a" / "x.pt"
    write(path, {"value": 1})
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StorageError, match=r"hydra\.run\.dir"):
        write(blocked / "x.pt", {})
    assert read(path)["value"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"]
