"""The one task that somebody's own pictures make."""

import numpy as np
import pytest
import torch
from picture_trees import png, write_files, write_zip
from PIL import Image

from maml_cli.core.errors import DataError
from maml_cli.data.own_pictures import OwnTask, find_own_pictures
from maml_cli.data.pictures import Recipe, standardised
from maml_cli.data.sampler import episode_keys

CPU = torch.device("cpu")


@pytest.fixture
def own(tmp_path):
    for name in ("support/cat/1.png", "support/dog/1.png", "query/1.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16), 7, np.uint8)).save(path)
    return find_own_pictures(tmp_path / "support", tmp_path / "query")


def test_its_key_is_that_of_the_first_test_episode_of_the_seed(own):
    form = standardised(Recipe(size=16, channels=1, fit="stretch"), [0.0], [1.0])
    for seed in (0, 5):
        task = OwnTask(own, form, CPU, train_classes=2, seed=seed)
        key = task.episodes("test", 3, 2).key
        assert key.dtype == torch.int64
        assert key.tolist() == episode_keys(seed, "test", 0, 1).tolist() * 2


PICTURE = png(7, "L", (16, 16))
KNOWN = {"cat/1.png": PICTURE, "cat/2.png": PICTURE, "dog/1.png": PICTURE}


@pytest.mark.parametrize("top", ["", "known/"])
def test_archives_are_read_as_folders_are(tmp_path, top):
    write_zip(tmp_path / "known.zip", {f"{top}{name}": content for name, content in KNOWN.items()})
    write_zip(tmp_path / "scored.zip", {f"{top}dog/7.png": PICTURE, f"{top}cat/8.png": PICTURE})
    write_zip(tmp_path / "unknown.zip", {f"{top}7.png": PICTURE, f"{top}8.png": PICTURE})
    scored = find_own_pictures(tmp_path / "known.zip", tmp_path / "scored.zip")
    assert scored.labels == ["cat", "dog"]
    assert [len(c.pictures) for c in scored.classes] == [2, 1]
    assert scored.names == [f"{top}cat/8.png", f"{top}dog/7.png"]
    assert scored.truth == [0, 1]
    unknown = find_own_pictures(tmp_path / "known.zip", tmp_path / "unknown.zip")
    assert (unknown.names, unknown.truth) == ([f"{top}7.png", f"{top}8.png"], None)


def test_an_archive_of_one_known_class_is_scored(tmp_path):
    write_files(tmp_path / "known", KNOWN)
    write_zip(tmp_path / "dogs.zip", {"dog/7.png": PICTURE})
    assert find_own_pictures(tmp_path / "known", tmp_path / "dogs.zip").truth == [1]


def test_one_picture_may_be_the_query_but_not_the_support(tmp_path):
    write_files(tmp_path, {f"known/{name}": content for name, content in KNOWN.items()})
    write_files(tmp_path, {"7.png": PICTURE, "notes.txt": b"7 is a dog"})
    own = find_own_pictures(tmp_path / "known", tmp_path / "7.png")
    assert (own.names, own.truth) == (["7.png"], None)
    with pytest.raises(DataError) as refused:
        find_own_pictures(tmp_path / "7.png", tmp_path / "notes.txt")
    support, query = refused.value.messages
    assert "7.png: one picture, whose class is not told" in support
    assert "write support=DIR" in support
    assert "notes.txt: no folder, picture or archive that is read" in query


def test_support_and_query_may_spell_a_class_in_two_ways(tmp_path):
    write_files(tmp_path / "known", {"caf\u00e9/1.png": PICTURE, "tea/1.png": PICTURE})
    write_files(tmp_path / "query", {"cafe\u0301/1.png": PICTURE})
    own = find_own_pictures(tmp_path / "known", tmp_path / "query")
    assert (own.labels, own.truth) == (["caf\u00e9", "tea"], [0])


def test_what_is_passed_over_is_said(tmp_path):
    extra = {"zebra/a.heic": b"", "zebra/b.csv": b"", "cat/c.heic": b"", "d/e/1.png": PICTURE}
    write_files(tmp_path / "known", KNOWN | extra)
    for empty in ("empty", ".hidden"):
        (tmp_path / "known" / empty).mkdir()
    write_files(tmp_path / "new", {"7.png": PICTURE})
    found = find_own_pictures(tmp_path / "known", tmp_path / "new")
    assert found.labels == ["cat", "d", "dog"]
    assert found.said == [
        "support: passed over 2 .heic, 1 .csv.",
        "support: empty holds no picture.",
        "support: zebra holds no picture.",
    ]
    form = standardised(Recipe(size=16, channels=1, fit="stretch"), [0.0], [1.0])
    task = OwnTask(found, form, CPU, train_classes=3, seed=0)
    assert task.remarks[:3] == tuple(found.said)
