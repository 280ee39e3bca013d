"""The small inputs of `shared/field` and their right values, if they lie beside the checkout."""

import os
from pathlib import Path

import pytest

from maml_cli.commands.data import main as maml_data

BESIDE = Path(__file__).parents[2] / "shared"
FIELD = Path(os.environ.get("MAML_DATA_DIR", BESIDE / "data")).parent / "field"
FEW = ["dataset=image_folder", "dataset.image_size=28", "ways=2", "shots=1", "queries=1"]
MINI = ["dataset=mini_imagenet", "dataset.allow_incomplete=true", "ways=5", "shots=1", "queries=2"]

pytestmark = pytest.mark.skipif(not FIELD.is_dir(), reason=f"no {FIELD}: its inputs are not tried")


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """What `maml-data` prints, and its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAML_CACHE_DIR", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, str]:
        code = maml_data(list(arguments))
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return run


@pytest.mark.parametrize(
    ("folder", "arguments", "code", "parts"),
    [
        ("two_levels", [], 0, ["10 outer ones", "dataset.class_depth=2 takes the 20 inner ones"]),
        ("two_levels", ["dataset.class_depth=2"], 0, ["12 │ 2 │ 24"]),
        ("other_endings", [], 0, ["6 │ 5 │ 30"]),
        ("one_folder_too_deep", [], 0, ["mydata/, which is taken for the top", "6 │ 3 │ 18"]),
        ("capital_splits", [], 0, ["Train/ for train", "5 │ 3 │ 15"]),
        ("six_classes", [], 2, ["dataset.val_fraction=0.34 dataset.test_fraction=0.34"]),
        ("six_classes", ["dataset.val_fraction=0.34", "dataset.test_fraction=0.34"], 0, ["ready"]),
        ("one_small_class", [], 2, ["c03 has 1", "dataset.min_images=2"]),
        (
            "one_small_class",
            ["dataset.min_images=2"],
            0,
            ["remark: left out: 1 class with fewer than 2 pictures: c03"],
        ),
        ("test_only", [], 3, ["there is test, but no train and no val"]),
        ("sensor_10_bit_in_16", [], 0, ["4 to 976, the lowest and the highest value"]),
        ("sensor_8_bit", [], 0, ["ready"]),
    ],
)
def test_folders_of_pictures(said, folder, arguments, code, parts):
    found, text = said(*FEW, f"dataset.path={FIELD / folder}", *arguments)
    assert found == code, text
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("folder", "code", "part"),
    [
        ("learn2learn", 0, "5 of 16 classes in val"),
        ("stray_pickle", 0, "wordnet.pkl: no file of Mini-ImageNet's pictures"),
        ("data_labels", 0, "8 of 64 │ 4 of 600"),
        ("csv_class_name", 0, "8 of 64 │ 4 of 600"),
        ("no_splits", 3, "whose names are no standard classes: n00000000, n00000001"),
        ("bare_array", 3, "mini-imagenet-val.pkl: no file of Mini-ImageNet's pictures (an array"),
    ],
)
def test_packagings_of_mini_imagenet(said, folder, code, part):
    found, text = said(*MINI, f"data_dir={FIELD / f'mini_{folder}'}")
    assert (found, part in text) == (code, True), text
