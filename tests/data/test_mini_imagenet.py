"""Mini-ImageNet in all its forms: the same episodes from each, and every lack named."""

import dataclasses
import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_trees import (
    pixels,
    png,
    tree,
    write_files,
    write_pickles,
    write_tar,
    write_zip,
)

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.types import Split
from maml_cli.data import mini_imagenet
from maml_cli.data.mini_imagenet import STANDARD, MiniImageNet, deviations
from maml_cli.data.mini_imagenet_files import find_folder, find_pictures

CPU = torch.device("cpu")
CLASSES = {"train": 4, "val": 2, "test": 3}
IMAGES = 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(autouse=True)
def small_standard(monkeypatch):
    small = {split: Split(classes, IMAGES) for split, classes in CLASSES.items()}
    monkeypatch.setattr(mini_imagenet, "STANDARD", small)
    monkeypatch.setattr(mini_imagenet, "IMAGES", IMAGES)


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "data" / "mini-imagenet"


@pytest.fixture
def run(run_settings):
    return run_settings(ways=2, shots=1, queries=2)


def data_set(**changes) -> MiniImageNet:
    settings = {"name": "mini_imagenet", "image_size": 84, "mean": MEAN, "std": STD}
    return MiniImageNet(**{**settings, "augment": None, "allow_incomplete": False, **changes})


def folders(root, files):
    write_files(root, files)


def folders_deeper(root, files):
    write_files(root / "images_84x84", files)


def lists(root, files):
    """`images/` and three lists, whose rows are in no order."""
    write_files(root / "images", {name.replace("/", "-"): c for name, c in files.items()})
    for split in CLASSES:
        rows = [f"{n.replace('/', '-')},{n.split('/')[1]}" for n in files if n.startswith(split)]
        (root / f"{split}.csv").write_text("\n".join(["filename,label", *reversed(rows)]) + "\n")


def one_zip(root, files):
    write_zip(root / "all.zip", {f"mini/{name}": content for name, content in files.items()})


def several_zips(root, files):
    names = sorted(files)
    for part in range(3):
        write_zip(root / f"part-{part}.zip", {name: files[name] for name in names[part::3]})


def tars(root, files):
    backwards = dict(sorted(files.items(), reverse=True))
    for split, mode in zip(CLASSES, ("w", "w:gz", "w:xz"), strict=True):
        part = {f"./{n}": c for n, c in backwards.items() if n.startswith(split)}
        write_tar(root / f"{split}.tar{mode[1:].replace(':', '.')}", part, mode)


def lists_and_archive(root, files):
    """As people get it who split by hand: lists of all there is, and archives as in `one_zip`."""
    one_zip(root, files)
    (root / "train.csv").write_text("filename,label\nnothing.jpg,n01\n")


def class_names(root, files):
    """`images/` and lists with other columns, as easyfsl has them."""
    lists(root, files)
    for split in CLASSES:
        rows = [line.split(",") for line in (root / f"{split}.csv").read_text().split()[1:]]
        lines = ["class_name,image_name", *(f"{label},{name}" for name, label in rows)]
        (root / f"{split}.csv").write_text("\n".join(lines))


def arrays_of(files, split):
    """`data`, `labels` and the numbers of the classes."""
    names = sorted(name for name in files if name.startswith(split))
    labels = [name.split("/")[1] for name in names]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    data = np.stack([pixels(files[name]) for name in names])
    return data, [numbers[label] for label in labels], numbers


def data_and_labels(root, files):
    """Pickles as MetaOptNet has them, with those of other images of training classes beside."""
    root.mkdir(parents=True)
    stems = {"train": "train_phase_train", "val": "val", "test": "test", "other": "train_phase_val"}
    for kind, stem in stems.items():
        data, labels, numbers = arrays_of(files, "train" if kind == "other" else kind)
        content = {"data": data, "labels": labels, "catname2label": numbers}
        path = root / f"miniImageNet_category_split_{stem}.pickle"
        path.write_bytes(pickle.dumps(content, 4))


def npz(root, files):
    """Underscores, arrays of NumPy, and notes that no picture is in."""
    root.mkdir(parents=True)
    for split in CLASSES:
        data, labels, numbers = arrays_of(files, split)
        names = np.array(list(numbers))[labels]
        np.savez_compressed(root / f"mini_imagenet_{split}.npz", images=data, labels=names)
    (root / "notes.pkl").write_bytes(pickle.dumps({"n01": "tench"}))
    (root / "broken.zip").write_bytes(b"PK")


def other_spellings(root, files):
    spelt = {"train": "base", "val": "Validation", "test": "novel"}
    write_files(root, {n.replace(s := n.split("/")[0], spelt[s], 1): c for n, c in files.items()})


LAYOUTS = [
    *(folders, folders_deeper, lists, write_pickles, one_zip, several_zips, tars),
    *(lists_and_archive, class_names, data_and_labels, npz, other_spellings),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_episodes(root, run, layout, tmp_path):
    files = tree(CLASSES, IMAGES)
    layout(root, files)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    tasks = data_set().load(run, CPU)
    in_order = sorted(files, key=lambda name: name.split("/")[1:])  # by class, then by image
    plain = b"".join(pixels(files[name]).transpose(2, 0, 1).tobytes() for name in in_order)
    assert tasks.checksum == hashlib.sha256(plain).hexdigest()
    assert tasks.remarks == ()
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert after == before
    assert {path.name for path in tmp_path.iterdir()} == {"data", "cache"}
    for s, split in enumerate(CLASSES):
        episode = tasks.episodes(split, 0, 20)
        assert episode.support_x.shape == (20, 2, 3, 84, 84)
        seen = (episode.query_x[..., 0, 0] * torch.tensor(STD) + torch.tensor(MEAN)) * 255
        red, green, blue = seen.round().int().unbind(-1)
        assert (red == 80 * s).all()
        assert set((green // 40).flatten().tolist()) == set(range(CLASSES[split]))
        assert set((blue // 20).flatten().tolist()) == set(range(IMAGES))
        assert (green.view(20, 2, 2)[..., 0] == green.view(20, 2, 2)[..., 1]).all()


def test_of_several_forms_the_fullest_counts(root):
    files = tree(CLASSES, IMAGES)
    some = {name: content for name, content in files.items() if not name.endswith("02.png")}
    one_zip(root, some | {name: files[name] for name in files if name.startswith("val")})
    write_files(root, files)
    found = find_pictures(root)
    where = {
        split: {picture.files.path.name for c in classes for picture in c.pictures}
        for split, classes in found.splits.items()
    }
    assert where == {"train": {"mini-imagenet"}, "val": {"all.zip"}, "test": {"mini-imagenet"}}
    assert sorted(path.name for path in found.sources) == ["all.zip", "mini-imagenet"]


@pytest.mark.parametrize("name", ["mini-imagenet", "mini_imagenet", "miniImageNet", "MiniImagenet"])
def test_the_folder_is_found_however_it_is_spelt(tmp_path, name):
    (tmp_path / name).mkdir()
    assert find_folder(tmp_path) == tmp_path / name
    assert find_folder(tmp_path / "nowhere") is None


def test_the_standard_is_that_of_ravi_and_larochelle():
    assert STANDARD == {"train": (64, 600), "val": (16, 600), "test": (20, 600)}


def test_a_short_set_is_named_refused_and_marked(root, run):
    files = tree(CLASSES, IMAGES)
    del files["val/val1/01.png"]
    one_zip(root, {n: c for n, c in files.items() if not n.startswith("train") or "00" not in n})
    with pytest.raises(DataError) as caught:
        data_set().load(run, CPU)
    train, val, advice = caught.value.messages
    assert train == "2 of 3 images per class in train"
    assert val == "2 to 3 of 3 images per class in val"
    assert "dataset.allow_incomplete=true" in advice
    inventory = data_set().inventory(run)
    assert inventory.problems == [train, val]
    assert inventory.counts == {"train": [2] * 4, "val": [3, 2], "test": [3] * 3}
    tasks = data_set(allow_incomplete=True).load(dataclasses.replace(run, queries=1), CPU)
    assert tasks.remarks == (f"incomplete Mini-ImageNet: {train}, {val}",)


def test_a_short_set_may_be_too_short_for_the_episodes(root, run):
    one_zip(root, {n: c for n, c in tree(CLASSES, IMAGES).items() if "02" not in n})
    assert data_set().check(run) == []
    with pytest.raises(UsageError) as caught:
        data_set(allow_incomplete=True).load(run, CPU)
    assert caught.value.messages == (
        "shots=1 + queries=2 needs 3 images per class, but mini_imagenet has 2: lower one of them.",
    )
    assert not Path(run.cache_dir).exists()  # said before anything is decoded


def test_what_is_surplus_is_refused(root, run):
    one_zip(root, tree({"train": 5, "val": 2, "test": 3}, IMAGES + 1))
    with pytest.raises(DataError) as caught:
        data_set(allow_incomplete=True).load(run, CPU)
    assert caught.value.messages[:2] == (
        "5 of 4 classes in train",
        "up to 4 of 3 images per class in train",
    )
    assert "image_folder" in caught.value.messages[-1]


def test_missing_classes_are_counted():
    missing, surplus = deviations({"train": [3] * 4, "val": [3], "test": [3] * 3})
    assert (missing, surplus) == (["1 of 2 classes in val"], [])


def test_nothing_there_says_where_it_was_sought(root, run):
    with pytest.raises(DataError, match="has no folder mini-imagenet") as caught:
        data_set().load(dataclasses.replace(run, download=True), CPU)
    assert str(root.parent) in str(caught.value)
    assert "never downloaded" in str(caught.value)
    root.mkdir(parents=True)
    with pytest.raises(DataError, match="has no images for train and val and test"):
        data_set().load(run, CPU)


def test_a_class_in_two_splits_is_refused(root, run):
    files = tree(CLASSES, IMAGES)
    one_zip(root, {name.replace("val/val0", "val/train0"): c for name, c in files.items()})
    with pytest.raises(DataError, match="class train0 is in train and in val"):
        data_set().load(run, CPU)


def test_broken_images_are_named_and_nothing_half_made_is_left(root, run):
    files = tree(CLASSES, IMAGES)
    files["train/train1/01.png"] = files["train/train1/01.png"][:50]
    files["test/test2/00.png"] = b"no picture"
    write_zip(root / "all.zip", files | {"train/train1/notes.txt": b"not meant to be a picture"})
    with pytest.raises(DataError) as caught:
        data_set().load(run, CPU)
    first, second, advice = caught.value.messages
    assert "all.zip: train/train1/01.png cannot be used (" in first  # as they lie in the archive
    assert "all.zip: test/test2/00.png cannot be used (it is no kind of picture" in second
    assert "broken" in advice
    assert list(Path(run.cache_dir).glob("*.npy")) == []


def test_the_licence_is_said_once_when_the_images_are_prepared(root, run, capsys):
    folders(root, tree(CLASSES, IMAGES))
    data_set().load(run, CPU)
    said = capsys.readouterr().err
    assert said.count("non-commercial research") == 1
    assert "Decoding mini_imagenet (27)" in said
    data_set().load(run, CPU)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfe\x00", b"filename\nx\n"])
def test_a_list_of_another_form_is_named(root, run, content):
    write_files(root / "images", {"a.png": png(0)})
    (root / "train.csv").write_bytes(content)
    with pytest.raises(
        DataError, match=r"train\.csv: (no list of pictures|a list of a split that cannot)"
    ):
        data_set().load(run, CPU)


def test_class_folders_without_splits_are_split_as_the_standard_says(root):
    train, val, test = "n01532829", "n01855672", "n01930112"
    write_files(root, {f"{label}/1.png": png(0) for label in (train, val, test, "n99999999")})
    found = find_pictures(root)
    assert {split: [c.label for c in cs] for split, cs in found.splits.items()} == {
        "train": [train], "val": [val], "test": [test],
    }  # fmt: skip
    assert found.passed[-1].endswith("whose names are no standard classes: n99999999")


def test_the_real_images_are_those_of_the_standard_split():
    """Reads the tables of contents, and a few pictures of the real set."""
    repository = Path(__file__).parents[2]
    data_dir = Path(os.environ.get("MAML_DATA_DIR", repository.parent / "shared" / "data"))
    folder = find_folder(data_dir)
    if folder is None:
        pytest.skip(f"no mini-imagenet/ in {data_dir}: set MAML_DATA_DIR to test on real images")
    splits = find_pictures(folder).splits
    assert {split: len(classes) for split, classes in splits.items()} == {
        "train": 64, "val": 16, "test": 20,
    }  # fmt: skip
    labels = [c.label for classes in splits.values() for c in classes]
    assert len(set(labels)) == 100
    assert {"n01532829", "n01855672", "n01930112"} <= set(labels)
    for classes in splits.values():
        files, name = classes[0].pictures[0]
        assert pixels(files.read(name)).shape == (84, 84, 3)
