"""Checkpoints: the best are kept, content survives, damage is noticed."""

import pytest
import torch

from maml_cli.core.errors import CheckpointError, StorageError
from maml_cli.core.learner import MetaParameters
from maml_cli.training.checkpoint import Checkpoints, read, write

CPU = torch.device("cpu")


def params(value: float) -> MetaParameters:
    return MetaParameters(
        theta={"model.w": torch.tensor([value])}, state={"running.m": torch.tensor([value])}
    )


def saved(directory, scores, **kwargs):
    checkpoints = Checkpoints(directory, **{"keep": 2, "higher_is_better": True, **kwargs})
    best = [checkpoints.save(e, e + 1, params(float(e)), {}, s) for e, s in enumerate(scores)]
    return checkpoints, best


def test_the_best_epochs_are_kept_best_first(tmp_path):
    checkpoints, best = saved(tmp_path, [0.5, 0.9, 0.7, 0.9, 0.1])
    assert checkpoints.best() == [1, 3]  # of equal ones the earlier first
    assert best == [True, True, False, False, False]
    # the last one stays for resuming, though it is no longer among the best
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["epoch-0002.pt", "epoch-0004.pt", "epoch-0005.pt"]
    assert checkpoints.load(3, CPU).theta["model.w"].item() == 3.0
    assert checkpoints.load(3, CPU).state["running.m"].item() == 3.0
    assert checkpoints.summary() == {"mean": 0.9, "best_epoch": 2}


def test_for_an_error_less_is_better(tmp_path):
    checkpoints, best = saved(tmp_path, [3.0, 1.0, 2.0], higher_is_better=False)
    assert checkpoints.best() == [1, 2]
    assert best == [True, True, False]


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    checkpoints, _ = saved(tmp_path, [0.5])
    path = tmp_path / "epoch-0001.pt"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    with pytest.raises(CheckpointError, match=r"epoch-0001\.pt"):
        checkpoints.load(0, CPU)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"

    class Evil:
        def __reduce__(self):
            return (type(trace).touch, (trace,))

    torch.save({"format": 1, "theta": Evil()}, path)
    with pytest.raises(CheckpointError):
        read(path)
    assert not trace.exists()


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a" / "x.pt"
    write(path, {"format": 1, "value": 1})
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StorageError, match=r"hydra\.run\.dir"):
        write(blocked / "x.pt", {"format": 1})
    assert read(path)["value"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"]
