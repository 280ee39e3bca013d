"""Folders of one's own pictures: given splits, drawn splits, and what is too little."""

import dataclasses
from itertools import chain

import pytest
import torch
from picture_trees import png, tree, write_files

from maml_cli.core.errors import DataError, UsageError
from maml_cli.data.image_folder import ImageFolder

CPU = torch.device("cpu")


def data_set(path, **changes) -> ImageFolder:
    settings = {
        "name": "mine", "path": str(path), "image_size": 16, "channels": 3, "fit": "crop",
        "mean": 0.5, "std": 0.25, "val_fraction": 0.2, "test_fraction": 0.3, "split_seed": 0,
        "range": None, "class_depth": None, "min_images": 1, "skip_broken": False,
        "augment": None,
    }  # fmt: skip
    return ImageFolder(**settings | changes)


@pytest.fixture
def run(run_settings):
    return run_settings(ways=2, shots=1, queries=1)


def flat(images: dict[str, int]) -> dict[str, bytes]:
    """`CLASS/IMAGE.png`: class i (from 0) is of grey 20 * i."""
    return {
        f"{label}/{i}.png": png(20 * c, "L", (30, 20))
        for c, (label, number) in enumerate(images.items())
        for i in range(number)
    }


def greys(tasks, split: str) -> set[int]:
    """Which classes of `flat` are in a split."""
    episode = tasks.raw_episodes(split, 0, 100)
    return {int(value) // 20 for value in episode.support_x[..., 0, 0, 0].unique()}


def test_given_splits_are_kept(tmp_path, run):
    write_files(tmp_path / "mine", tree({"train": 3, "val": 2, "test": 2}, 2))
    tasks = data_set(tmp_path / "mine").load(run, CPU)
    for s, split in enumerate(("train", "val", "test")):
        episode = tasks.raw_episodes(split, 0, 30)
        assert episode.query_x.shape == (30, 2, 3, 16, 16)
        assert set(episode.query_x[:, :, 0].unique().tolist()) == {80 * s}


def test_classes_are_split_by_fractions_and_seed(tmp_path, run):
    write_files(tmp_path / "mine", flat({f"c{i}": 2 for i in range(10)}))
    first, same, other = (
        data_set(tmp_path / "mine", split_seed=seed).load(run, CPU) for seed in (0, 0, 1)
    )
    parts = {split: greys(first, split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 5, "val": 2, "test": 3}
    assert set.union(*parts.values()) == set(range(10))
    assert {split: greys(same, split) for split in parts} == parts
    assert {split: greys(other, split) for split in parts} != parts
    assert other.checksum == first.checksum  # decoded once, however it is split


def test_the_run_seed_changes_episodes_but_not_the_split(tmp_path, run):
    write_files(tmp_path / "mine", flat({f"c{i}": 3 for i in range(10)}))
    one, two = (
        data_set(tmp_path / "mine").load(dataclasses.replace(run, seed=seed), CPU)
        for seed in (0, 1)
    )
    assert greys(one, "test") == greys(two, "test")
    first, second = (t.raw_episodes("train", 0, 20).support_x for t in (one, two))
    assert not torch.equal(first, second)


def test_pixels_are_centred_and_scaled(tmp_path, run):
    every = {
        f"{split}/{split}{label}/{i}.png": png(255, "L")
        for split in ("train", "val", "test")
        for label in range(2)
        for i in range(2)
    }
    write_files(tmp_path / "split", every)
    tasks = data_set(tmp_path / "split", channels=1).load(run, CPU)
    assert tasks.input_shape == (1, 16, 16)
    assert tasks.episodes("train", 0, 1).support_x.unique().tolist() == [2.0]  # (1 - 0.5) / 0.25


def test_each_channel_may_have_a_mean_and_a_deviation(tmp_path, run):
    every = {
        f"{split}/{split}{label}/{i}.png": png((255, 0, 51))
        for split in ("train", "val", "test")
        for label in range(2)
        for i in range(2)
    }
    write_files(tmp_path / "split", every)
    dataset = data_set(tmp_path / "split", mean=(0.5, 0.25, 0.4), std=(0.25, 0.5, 0.1))
    pixel = dataset.load(run, CPU).episodes("train", 0, 1).support_x[0, 0, :, 5, 5]
    assert pixel.tolist() == pytest.approx([2.0, -0.5, -2.0])  # (51 / 255 - 0.4) / 0.1 = -2


def test_numbers_for_other_channels_than_there_are_are_refused(run):
    grey = data_set("x", channels=1, mean=(0.5, 0.4, 0.3), std=(0.2,))
    assert grey.check(run) == [
        "dataset.mean=[0.5,0.4,0.3]: 3 numbers for dataset.channels=1: give one number, or one "
        "for each channel."
    ]
    assert len(data_set("x", mean=(0.5,), std=(0.1, 0.2)).check(run)) == 2


def test_classes_may_have_different_numbers_of_pictures(tmp_path, run):
    numbers = {"train": {"a": 2, "b": 5}, "val": {"c": 2, "d": 3}, "test": {"e": 4, "f": 2}}
    files = {
        f"{split}/{label}/{i}.png": png((ord(label), 10 * i, 0))
        for split, classes in numbers.items()
        for label, number in classes.items()
        for i in range(number)
    }
    write_files(tmp_path / "mine", files)
    tasks = data_set(tmp_path / "mine").load(run, CPU)
    assert data_set(tmp_path / "mine").inventory(run).counts == {
        "train": [2, 5], "val": [2, 3], "test": [4, 2],
    }  # fmt: skip
    for split, classes in numbers.items():
        episode = tasks.raw_episodes(split, 0, 200)
        drawn = torch.cat([episode.support_x, episode.query_x], 1)[..., 0, 0].flatten(0, 1)
        seen = {(chr(red), green // 10) for red, green, _ in drawn.tolist()}
        assert seen == {(c, i) for c, number in classes.items() for i in range(number)}
        same = (episode.support_x == episode.query_x)[..., 0, 0]
        assert same[..., 0].all()  # of the same class
        assert not same[..., 1].any()  # another picture


def test_pictures_in_folders_below_a_class_are_of_that_class(tmp_path, run):
    write_files(tmp_path / "mine", flat({"a/x": 1, "a/y": 1, "b": 2}) | {"a/notes.txt": b"text"})
    counts = data_set(tmp_path / "mine").inventory(run).counts
    assert sorted(chain.from_iterable(counts.values())) == [2, 2]


def test_too_few_are_refused_with_the_arithmetic_before_anything_is_decoded(tmp_path, run):
    write_files(tmp_path / "mine", dict.fromkeys(flat({f"c{i}": 4 for i in range(10)}), b"broken"))
    with pytest.raises(UsageError) as caught:
        data_set(tmp_path / "mine").load(dataclasses.replace(run, ways=3, shots=3, queries=2), CPU)
    assert caught.value.messages == (
        'ways=3 needs 3 classes, but split "val" of mine has 2: lower ways to at most 2.',
        "shots=3 + queries=2 needs 5 images per class, but mine has 4: lower one of them.",
        "Or with 10 classes, dataset.val_fraction=0.3 dataset.test_fraction=0.3 leave 3 or more in "
        "each split.",
    )


def test_fractions_must_leave_classes_for_training(run):
    (message,) = data_set("x", val_fraction=0.5, test_fraction=0.5).check(run)
    assert "leave no class for training" in message
    assert data_set("x").check(run) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no folder in it holds pictures"),
        ({"a.png": b""}, "no folder in it holds pictures"),
        ({"a/notes.txt": b""}, "no folder in it holds pictures"),
        ({"train/a/1.png": b"", "test/b/1.png": b""}, "there is train and test, but no val"),
        (
            {"train/a/1.png": b"", "val/b/1.png": b"", "test/a/1.png": b""},
            "class a is in train and in test",
        ),
    ],
)
def test_a_folder_of_another_form_is_named(tmp_path, run, files, message):
    (tmp_path / "mine").mkdir()
    write_files(tmp_path / "mine", files)
    with pytest.raises(DataError, match=message):
        data_set(tmp_path / "mine").load(run, CPU)


def test_a_missing_folder_and_a_relative_one(tmp_path, run, monkeypatch):
    with pytest.raises(DataError, match=r"dataset\.path=mine: no such folder"):
        data_set("mine").load(run, CPU)
    write_files(tmp_path / "mine", tree({"train": 2, "val": 2, "test": 2}, 2))
    monkeypatch.chdir(tmp_path)
    assert data_set("mine").load(run, CPU).output_size == 2
    assert data_set(".").inventory(run).counts
