"""Omniglot as the learner meets it: split, turned, inverted and cached, at its full size."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maml_cli.core.errors import DataError
from maml_cli.data.omniglot import Omniglot, split_classes
from maml_cli.data.omniglot_alphabets import ALPHABETS

CPU = torch.device("cpu")
SIZES = {"train": 1150, "val": 50, "test": 423}


def omniglot(**changes) -> Omniglot:
    settings = {"name": "omniglot", "image_size": 28, "invert": False}
    settings |= {"rotations": "none", "rotate_test": False}
    return Omniglot(**settings | changes)


def official_split() -> dict[str, list[str]]:
    """The labels of each split, by the official MAML++ code's steps."""
    labels = sorted(
        f"{alphabet}/character{i:02d}"
        for alphabets in ALPHABETS.values()
        for alphabet, count in alphabets.items()
        for i in range(1, count + 1)
    )
    order = np.arange(1623, dtype=np.int32)
    np.random.RandomState(985773).shuffle(order)
    shuffled = [labels[i] for i in order]
    return {"train": shuffled[:1150], "val": shuffled[1150:1200], "test": shuffled[1200:]}


def test_the_alphabets_are_those_of_the_paper():
    background, evaluation = ALPHABETS.values()
    assert (len(background), sum(background.values())) == (30, 964)
    assert (len(evaluation), sum(evaluation.values())) == (20, 659)


def test_the_split_is_that_of_the_official_code():
    assert np.random.RandomState(0).randint(1, 999999) == 985773
    split = split_classes()
    assert {name: len(classes) for name, classes in split.items()} == SIZES
    assert sorted(np.concatenate(list(split.values()))) == list(range(1623))
    order = np.arange(1623, dtype=np.int32)
    np.random.RandomState(985773).shuffle(order)
    assert np.concatenate(list(split.values())).tolist() == order.tolist()


def test_full_size_archives_are_loaded_split_and_cached(full_size, run_settings, capsys):
    run = run_settings(ways=50, shots=1, queries=2, data_dir=str(full_size))
    archives = {path: path.read_bytes() for path in (full_size / "omniglot").iterdir()}
    first = omniglot().load(run, CPU).episodes("val", 0, 2)
    assert "Decoding" in capsys.readouterr().err
    again = omniglot().load(run, CPU).episodes("val", 0, 2)
    assert capsys.readouterr().err == ""
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert {path: path.read_bytes() for path in (full_size / "omniglot").iterdir()} == archives
    # each drawing shows its character's number within its part, in bits of 4 x 4 pixels
    bits = 2 ** torch.arange(49)
    pictures = (first.support_x, first.query_x)
    support, query = ((x[..., 2::4, 2::4] == 0).flatten(2).long() @ bits for x in pictures)
    shown = {
        f"{alphabet}/character{i:02d}": number
        for alphabets in ALPHABETS.values()
        for number, (alphabet, i) in enumerate(
            ((a, i) for a, count in alphabets.items() for i in range(1, count + 1)), start=1
        )
    }
    expected = sorted(shown[label] for label in official_split()["val"])
    assert support.sort(-1).values.tolist() == [expected] * 2
    assert torch.equal(support.repeat_interleave(2, dim=1), query)


def test_rotations_are_for_training_only_and_invert_swaps_ink_and_paper(full_size_run):
    run = full_size_run(ways=5)
    loaded = {r: omniglot(rotations=r).load(run, CPU) for r in ("none", "episode", "classes")}
    inverted = omniglot(invert=True).load(run, CPU)
    for split in ("val", "test"):
        plain = loaded["none"].episodes(split, 0, 4).support_x
        assert torch.equal(loaded["episode"].episodes(split, 0, 4).support_x, plain)
        assert torch.equal(loaded["classes"].episodes(split, 0, 4).support_x, plain)
        assert torch.equal(inverted.episodes(split, 0, 4).support_x, 1 - plain)
        assert plain.mean() > 0.5  # mostly paper, which is 1
    plain = loaded["none"].episodes("train", 0, 50).support_x.flatten(0, 1)
    turned = loaded["episode"].episodes("train", 0, 50).support_x.flatten(0, 1)
    candidates = torch.stack([plain.rot90(k, (-2, -1)) for k in range(4)])
    assert (candidates == turned).flatten(2).all(-1).any(0).all()
    assert not torch.equal(plain, turned)


def test_rotations_in_the_test_too(full_size_run):
    run = full_size_run(ways=5)
    plain, turned = (
        omniglot(rotations=r, rotate_test=True).load(run, CPU).episodes("test", 0, 20).support_x
        for r in ("none", "episode")
    )
    candidates = torch.stack([plain.rot90(k, (-2, -1)) for k in range(4)])
    assert (candidates == turned).flatten(3).all(-1).any(0).all()
    assert not torch.equal(plain, turned)
    assert omniglot(rotations="classes", rotate_test=True).check(full_size_run(ways=200)) == []


def test_what_an_episode_needs_is_checked_without_data(run_settings):
    assert omniglot().check(run_settings(ways=50, shots=10, queries=10)) == []
    assert omniglot().check(run_settings(ways=200)) == [
        'ways=200 needs 200 classes, but split "val" of omniglot has 50: lower ways to at most 50.'
    ]
    (message,) = omniglot(rotations="classes").check(run_settings(ways=2000))
    assert '"train"' not in message  # 4 * 1150 classes
    (message,) = omniglot().check(run_settings(ways=2000))
    assert 'split "train" of omniglot has 1150' in message


def test_missing_data_say_where_they_were_sought_and_what_to_do(run_settings, tmp_path):
    with pytest.raises(DataError) as caught:
        omniglot().load(run_settings(), CPU)
    found, read, advice = caught.value.messages
    assert found == (
        f"Omniglot: {tmp_path}/data/omniglot has no images_background and no images_evaluation, "
        "as folder or .zip (there is no such folder)"
    )
    assert "a tree of all alphabets" in read
    assert "MAML_DATA_DIR" in advice
    assert "download=true" in advice


def test_the_real_drawings_are_those_of_the_official_code(real_data, run_settings):
    folders = {"data_dir": str(real_data), "cache_dir": os.environ["MAML_CACHE_DIR"]}
    run = run_settings(ways=50, shots=19, queries=1, **folders)
    official = official_split()["val"]
    episode = omniglot().load(run, CPU).episodes("val", 0, 1)
    seen = torch.cat(
        [episode.support_x.view(50, 19, 28, 28), episode.query_x.view(50, 1, 28, 28)], 1
    )
    expected = {label: pictures(real_data / "omniglot", label) for label in official[:5]}
    as_sets = [{picture.numpy().tobytes() for picture in character} for character in seen]
    for label, character in expected.items():
        assert {picture.tobytes() for picture in character} in as_sets, label


def pictures(root: Path, label: str) -> list[np.ndarray]:
    """A character's drawings by the official code's calls: open, resize with LANCZOS, as float."""
    found = []
    for part in ALPHABETS:
        if (root / f"{part}.zip").is_file():
            with zipfile.ZipFile(root / f"{part}.zip") as archive:
                prefix = f"{part}/{label}/"
                found += [
                    archive.read(n)
                    for n in archive.namelist()
                    if n.startswith(prefix) and n != prefix
                ]
        else:
            found += [path.read_bytes() for path in (root / part / label).glob("*.png")]
    opened = [Image.open(io.BytesIO(data)) for data in found]
    assert [(image.mode, image.size) for image in opened] == [("1", (105, 105))] * 20
    return [np.array(i.resize((28, 28), Image.Resampling.LANCZOS), np.float32) for i in opened]


def test_turned_characters_are_training_classes_of_their_own(full_size_run):
    run = full_size_run()
    assert omniglot(rotations="classes").load(run, CPU).train_classes == 4 * 1150
    assert omniglot(rotations="episode").load(run, CPU).train_classes == 1150
