"""Trees of pictures as people have them, and what each part of them is taken for."""

import json
from pathlib import Path

import pytest
from picture_trees import png, write_files, write_tar, write_zip

from maml_cli.core.errors import DataError
from maml_cli.data.layouts import Layout, layout_of, sources_in

PICTURE = png(0, "L", (4, 4))


def recognised(tmp_path: Path, *names: str, depth: int | None = None, **texts: str) -> Layout:
    write_files(tmp_path / "mine", dict.fromkeys(names, PICTURE))
    write_files(
        tmp_path / "mine", {k.replace("__", "."): text.encode() for k, text in texts.items()}
    )
    return layout_of(sources_in(tmp_path / "mine"), depth)


def classes(layout: Layout) -> dict[str, int]:
    return {c.label: len(c.pictures) for c in layout.classes}


def splits(layout: Layout) -> dict[str, list[str]]:
    return {split: [c.label for c in some] for split, some in layout.splits.items()}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Val", "Test"),
        ("training", "validation", "testing"),
        ("base", "valid", "novel"),
        ("meta-train", "meta_val", "metatest"),
        ("train_set", "val_images", "test data"),
        ("TRAIN", "dev", "eval"),
    ],
)
def test_splits_in_every_usual_spelling(tmp_path, train, val, test):
    layout = recognised(tmp_path, f"{train}/a/1.png", f"{val}/b/1.png", f"{test}/c/1.png")
    assert splits(layout) == {"train": ["a"], "val": ["b"], "test": ["c"]}
    assert f"{train}/ for train" in layout.said[0]


@pytest.mark.parametrize("top", ["mydata", "mydata/images", "train"])
def test_a_folder_that_holds_everything_is_the_top(tmp_path, top):
    layout = recognised(tmp_path, f"{top}/a/1.png", f"{top}/b/1.png", f"{top}/b/2.png")
    assert classes(layout) == {"a": 1, "b": 2}
    assert all("taken for the top" in said for said in layout.said)


def test_a_test_split_alone_is_a_split(tmp_path):
    layout = recognised(tmp_path, "test/a/1.png", "test/b/1.png")
    assert splits(layout) == {"test": ["a", "b"]}


def test_a_class_called_train_is_a_class(tmp_path):
    layout = recognised(tmp_path, "train/1.png", "bus/1.png", "car/1.png")
    assert classes(layout) == {"bus": 1, "car": 1, "train": 1}
    deeper = recognised(tmp_path / "2", "train/steam/1.png", "bus/old/1.png", "car/red/1.png")
    assert classes(deeper) == {"bus": 1, "car": 1, "train": 1}
    assert "train is taken for a class, not for a split" in deeper.said


def test_two_levels_are_seen_and_both_readings_can_be_had(tmp_path):
    names = [f"{group}/{label}/{i}.png" for group in "AB" for label in "xy" for i in range(2)]
    outer = recognised(tmp_path, *names)
    assert classes(outer) == {"A": 4, "B": 4}
    assert "the 2 outer ones are taken for the classes (A, B)" in outer.guesses[0]
    assert "dataset.class_depth=2 takes the 4 inner ones" in outer.guesses[0]
    assert recognised(tmp_path, depth=1).guesses == []
    inner = recognised(tmp_path, depth=2)
    assert classes(inner) == {"A/x": 2, "A/y": 2, "B/x": 2, "B/y": 2}


def test_one_folder_in_each_class_is_no_second_level(tmp_path):
    layout = recognised(tmp_path, "a/images/1.png", "b/images/1.png")
    assert classes(layout) == {"a": 1, "b": 1}
    assert layout.guesses == []


def test_levels_below_splits_are_seen_too(tmp_path):
    names = [f"{s}/{g}/{c}/1.png" for s in ("train", "val", "test") for g in "AB" for c in "xy"]
    layout = recognised(tmp_path, *names, depth=2)
    assert splits(layout)["val"] == ["A/x", "A/y", "B/x", "B/y"]


def test_what_is_left_out_is_counted(tmp_path):
    layout = recognised(
        tmp_path,
        *("train/a/1.png", "val/b/1.png", "test/c/1.png", "test/2.png", "more/d/1.png"),
        notes__txt="", LICENSE="",
    )  # fmt: skip
    assert "left out beside the splits: more (1 pictures)" in layout.said
    assert "1 pictures lie in no class folder and are left out" in layout.said
    assert layout.said[0] == "passed over: 1 without ending, 1 .txt"


def test_two_folders_for_one_split_are_refused(tmp_path):
    with pytest.raises(DataError, match="val and validation are the same split: rename one"):
        recognised(tmp_path, "train/a/1.png", "val/b/1.png", "validation/c/1.png", "test/d/1.png")


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_archives_are_read_as_they_would_unpack(tmp_path, write):
    ending = "zip" if write is write_zip else "tar.gz"
    names = ["train/a/1.png", "val/b/1.png", "test/c/1.png"]
    expected = {"train": ["a"], "val": ["b"], "test": ["c"]}
    one = tmp_path / f"one.{ending}"
    write(one, {f"data/{name}": PICTURE for name in names})
    assert splits(layout_of(sources_in(one), None)) == expected
    for name in names:  # an archive for each split, which holds its own name once more or not
        split, _, rest = name.partition("/")
        inside = name if split == "val" else rest
        write(tmp_path / "each" / f"{split}.{ending}", {inside: PICTURE})
    assert splits(layout_of(sources_in(tmp_path / "each"), None)) == expected


LISTS = {
    "files of a class": {
        f"{split}__csv": f"filename,label\n{label}.png,{label}\n"
        for split, label in (("train", "a"), ("val", "b"), ("test", "c"))
    },
    "other columns": {
        f"{split}__csv": f"class_name,image_name\n{label},images/{label}.png\n"
        for split, label in (("train", "a"), ("val", "b"), ("test", "c"))
    },
    "one list with a column": {
        "split__csv": "path,class,split\na.png,a,train\nb.png,b,valid\nc.png,c,novel\n"
    },
    "json of files": {
        f"{split}__json": json.dumps(
            {"label_names": ["?", label], "image_names": [f"/x/{label}.png"], "image_labels": [1]}
        )
        for split, label in (("base", "a"), ("val", "b"), ("novel", "c"))
    },
    "one json of files": {
        "splits__json": json.dumps(
            {"train": {"a": ["a.png"]}, "val": {"b": ["b.png"]}, "test": {"c": ["c.png"]}}
        )
    },
}


@pytest.mark.parametrize("texts", LISTS.values(), ids=LISTS)
def test_lists_split_a_folder_of_pictures(tmp_path, texts):
    layout = recognised(tmp_path, "images/a.png", "images/b.png", "images/c.png", **texts)
    assert splits(layout) == {"train": ["a"], "val": ["b"], "test": ["c"]}
    assert layout.said[-1].startswith("split by ")


@pytest.mark.parametrize("place", ["", "images/", "train/"])
@pytest.mark.parametrize("name", ["labels", "train"])
def test_a_list_without_splits_names_the_classes(tmp_path, name, place):
    pictures = [f"{place}{n}.png" for n in range(4)]
    text = "image_id,label\n0,cat\n1,dog\n2.png,cat\n7,bird\n"
    layout = recognised(tmp_path, *pictures, **{f"{name}__csv": text})
    assert classes(layout) == {"cat": 2, "dog": 1}
    assert not layout.splits
    assert layout.said == [
        f"classes by {name}.csv, split at random; 1 of 4 entries name nothing that is there; "
        "1 pictures are in no list"
    ]


def test_folders_of_splits_win_over_a_list_without_splits(tmp_path):
    names = ("train/a/1.png", "val/b/1.png", "test/c/1.png")
    layout = recognised(tmp_path, *names, labels__csv="file,label\n1.png,a\n")
    assert splits(layout) == {"train": ["a"], "val": ["b"], "test": ["c"]}


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_one_name_spelt_in_two_ways_is_one_class(tmp_path):
    layout = recognised(tmp_path, f"{COMPOSED}/1.png", f"{DECOMPOSED}/2.png", "tea/1.png")
    assert classes(layout) == {COMPOSED: 2, "tea": 1}
    assert layout.said == [f"{COMPOSED} is spelt in two ways (Unicode NFC and NFD): taken for one"]


def test_a_list_finds_pictures_whose_names_are_spelt_in_another_way(tmp_path):
    names = [f"{DECOMPOSED}.png", "b.png", "c.png"]
    text = f"path,class,split\n{COMPOSED}.png,a,train\nb.png,b,val\nc.png,c,test\n"
    assert splits(recognised(tmp_path, *names, split__csv=text))["train"] == ["a"]


def test_lists_of_class_names_split_class_folders(tmp_path):
    listed = {"split__json": json.dumps({"train": ["a", "gone"], "val": ["b"], "test": ["c"]})}
    layout = recognised(tmp_path, "a/1.png", "b/1.png", "c/1.png", "d/1.png", **listed)
    assert splits(layout) == {"train": ["a"], "val": ["b"], "test": ["c"]}
    assert "1 of 4 entries name nothing that is there; 1 pictures are in no list" in layout.said[-1]


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"mine/split.json: a list of a split that cannot be read"):
        recognised(tmp_path, "a/1.png", split__json="{")


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ({"image_names": ["a.png"], "image_labels": []}, "shorter than argument 1"),
        ({"image_names": ["a.png"], "image_labels": [-5], "label_names": ["a"]}, None),
    ],
)
def test_a_list_that_contradicts_itself_ends_in_words(tmp_path, listed, said):
    if said is None:  # a number without a name is its own name
        layout = recognised(tmp_path, "a/a.png", train__json=json.dumps(listed))
        assert classes(layout) == {"-5": 1}
    else:
        with pytest.raises(DataError, match=said):
            recognised(tmp_path, "a/a.png", train__json=json.dumps(listed))


@pytest.mark.parametrize("name", ["mine.7z", "mine.rar", "1.png"])
def test_a_file_that_is_no_archive_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(PICTURE)
    with pytest.raises(DataError, match=r"no archive that is read \(.zip, .tar"):
        sources_in(tmp_path / name)


def test_a_table_of_something_else_is_no_list(tmp_path):
    layout = recognised(tmp_path, "a/1.png", "b/1.png", labels__csv="x,y\n1,2\n")
    assert classes(layout) == {"a": 1, "b": 1}


def test_a_hidden_folder_can_be_the_data_set(tmp_path):
    write_files(tmp_path / ".mine", {"a/1.png": PICTURE, ".trash/b/1.png": PICTURE})
    assert classes(layout_of(sources_in(tmp_path / ".mine"), None)) == {"a": 1}
