"""Runs are bound to the data that they were trained on: the same classes and pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_trees import png, write_files
from PIL import Image

from maml_cli.commands.evaluate import main as maml_eval
from maml_cli.commands.train import main as train
from maml_cli.core.types import Episode
from maml_cli.data.keyed import keyed
from maml_cli.data.pixel_values import ValueRange
from maml_cli.data.record import ClassFacts, DataRecord, changes
from maml_cli.data.sampler import episode_keys

TINY = [
    *("algo=nearest_neighbour", "dataset=image_folder", "backbone.filters=4", "ways=2", "shots=1"),
    *("queries=1", "dataset.image_size=16", "train.epochs=2", "train.iterations_per_epoch=2"),
    *("train.tasks_per_batch=2", "eval.val_episodes=2", "eval.test_episodes=4", "eval.ensemble=1"),
    *("dataset.channels=1", "train.min_outer_lr=0"),
]


def class_of(number: int, pictures: int = 2) -> dict[str, bytes]:
    return {f"c{number:02d}/{i}.png": png(12 * number + i, "L", (16, 16)) for i in range(pictures)}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Ten classes of two pictures, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAML_CACHE_DIR", str(tmp_path / "cache"))
    for number in range(10):
        write_files(tmp_path / "own", class_of(number))
    return tmp_path / "own"


@pytest.fixture
def trained(own):  # noqa: ARG001
    """A finished run on them, and its record."""
    assert train([*TINY, "dataset.path=own", "hydra.run.dir=run"]) == 0
    return DataRecord.from_json(Path("run/data.json").read_text())


def again(*arguments: str) -> dict:
    output = Path(f"again{len(list(Path().iterdir()))}")
    assert maml_eval(["run=run", f"output={output}", *arguments]) == 0
    return json.loads((output / "results.json").read_text())


def test_the_split_is_kept_by_name_with_a_digest_of_each_class(trained):
    assert {split: len(found) for split, found in trained.splits.items()} == {
        "train": 6,
        "val": 2,
        "test": 2,
    }
    labels = [label for found in trained.splits.values() for label in found]
    assert sorted(labels) == [f"c{i:02d}" for i in range(10)]
    facts = [facts for found in trained.splits.values() for facts in found.values()]
    assert len(set(facts)) == 10
    assert all(pictures == 2 for pictures, _ in facts)


@pytest.mark.usefixtures("trained")
def test_new_folders_do_not_change_what_is_tested(own):
    before = json.loads(Path("run/test_scores.json").read_text())
    for number in range(10, 15):
        write_files(own, class_of(number))
    results = again()
    assert "left out: 5 classes that the run's own split does not have" in results["remarks"][0]
    scores = json.loads(next(Path().glob("again*/test_scores.json")).read_text())
    assert scores == before
    new = again("split=new")
    assert new["remarks"][0].startswith("tested on 5 classes that the run does not know: c10, c11")


@pytest.mark.usefixtures("trained")
def test_the_split_cannot_be_drawn_anew_at_the_test(capsys):
    for change in ("dataset.split_seed=1", "dataset.test_fraction=0.5", "dataset.range=[0,9]"):
        assert maml_eval(["run=run", change]) == 2
        assert f"{change}: the run decides it" in capsys.readouterr().err


def test_what_has_changed_is_named_in_every_table(trained, own):
    label, gone = trained.splits["test"]
    write_files(own, {f"{label}/9.png": png(255, "L", (16, 16))})
    results = again("ways=2")
    assert results["remarks"] == [
        f"since the training: 1 class of test with other pictures: {label} (2 pictures, now 3)"
    ]
    shutil.rmtree(own / gone)
    assert maml_eval(["run=run"]) == 2  # one class is left of the two that an episode needs


def test_a_trained_class_is_never_tested(trained, own, capsys):
    known = next(iter(trained.splits["train"]))
    shutil.copytree(own / known, "other/test/renamed")
    write_files(Path("other/test"), class_of(20))
    assert maml_eval(["run=run", "dataset.path=other"]) == 3
    assert f"renamed (there {known})" in capsys.readouterr().err


@pytest.mark.usefixtures("trained")
def test_a_folder_of_new_classes_alone_is_enough():
    for number in (20, 21):
        write_files(Path("plain"), class_of(number))
        write_files(Path("split/test"), class_of(number))
    assert "all 2 are tested" in again("dataset.path=plain")["remarks"][0]
    assert again("dataset.path=split")["remarks"] == [
        "tested on other classes than those of the run's own test"
    ]


def unfinish() -> None:
    """Leave the run one of its two epochs."""
    for name in ("results.json", "table.md", "checkpoints/epoch-0002.pt"):
        Path("run", name).unlink()


@pytest.mark.usefixtures("trained")
def test_a_run_goes_on_beside_new_folders_and_not_on_other_pictures(own, maml_train):
    unfinish()
    write_files(own, class_of(11))
    assert maml_train("resume=run").code == 0
    assert "left out: 1 class that" in Path("run/table.md").read_text()
    unfinish()
    own = own.rename("moved")
    assert maml_train("resume=run", "dataset.path=moved").code == 0
    unfinish()
    write_files(own, {"c03/0.png": png(99, "L", (16, 16))})
    ended = maml_train("resume=run")
    assert ended.code == 3
    assert ended.errors[0].endswith("with other pictures: c03")
    assert "it cannot go on" in ended.errors[1]


def test_the_range_of_training_is_used_at_the_test(own):
    shutil.rmtree(own)
    values = np.random.default_rng(0).integers(0, 1000, (10, 2, 16, 16)).astype(np.uint16)
    values[:, :, 0, :2] = 0, 1000
    for label in range(10):
        Path(own, f"c{label}").mkdir(parents=True)
        for i in range(2):
            Image.fromarray(values[label, i]).save(own / f"c{label}" / f"{i}.png")
    assert train([*TINY, "dataset.path=own", "hydra.run.dir=run"]) == 0
    record = DataRecord.from_json(Path("run/data.json").read_text())
    assert record.values == ValueRange(0, 1000)
    assert "0 to 1000, the lowest and the highest value" in Path("run/table.md").read_text()
    for number in range(2):
        Path("new", str(number)).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(values[number, i] * 60).save(f"new/{number}/{i}.png")
    assert "0 to 1000 become black and white" in again("dataset.path=new")["remarks"][1]


def test_a_run_that_cannot_begin_leaves_no_folder(maml_train, tmp_path):
    ended = maml_train("dataset=image_folder", "dataset.path=nothing")
    assert ended.code == 3
    assert [path.name for path in (tmp_path / "outputs").rglob("*") if path.is_file()] == []
    assert not list((tmp_path / "outputs").glob("image_folder/*/*"))


def record(**splits: dict[str, tuple[int, str]]) -> DataRecord:
    facts = {s: {c: ClassFacts(*f) for c, f in found.items()} for s, found in splits.items()}
    return DataRecord(checksum="", train_classes=1, splits=facts)


def test_changes_are_gone_new_and_other_classes():
    before = record(train={"a": (2, "x"), "b": (2, "y")}, val={"c": (1, "z")})
    now = record(train={"a": (2, "v"), "d": (2, "y")}, val={"c": (1, "z")})
    assert changes(before, now) == [
        "1 class of train gone: b",
        "1 class of train new: d",
        "1 class of train with other pictures: a",
    ]
    assert changes(before, before) == []


def test_a_data_set_of_ones_own_is_told_by_its_episodes(tmp_path, maml_train):
    example = Path(__file__).parents[1] / "examples" / "csv_curves"
    shutil.copytree(example, tmp_path, dirs_exist_ok=True)
    tiny = ["train.epochs=2", "train.iterations_per_epoch=2", "train.tasks_per_batch=2"]
    tiny += ["eval.val_episodes=2", "eval.test_episodes=4", "eval.ensemble=1"]
    words = ["--config-dir", "conf", "dataset=csv_curves", "algo=maml", "hydra.run.dir=run", *tiny]
    assert maml_train(*words).code == 0
    unfinish()
    lines = Path("curves.csv").read_text().splitlines()
    Path("curves.csv").write_text("\n".join([lines[0], *(f"{line}1" for line in lines[1:])]))
    assert (
        "the data are not those of the run" in maml_train("resume=run", "--module-path", ".").errors
    )


class Keyless:
    """A source as people write it: numbers that count, and no keys."""

    objective, input_shape, output_size, train_classes, remarks = None, (1,), 1, 1, ("mine",)

    def episodes(self, split: str, start: int, count: int) -> Episode:
        x = torch.arange(start, start + count).view(count, 1, 1).float()
        return Episode(x, x, x, x, torch.zeros(count, 1, dtype=torch.int64))

    def curve_episodes(self, count: int) -> None:
        return None


def test_a_source_without_keys_gets_those_of_the_seed():
    source = keyed(Keyless(), 5)
    expected = torch.from_numpy(episode_keys(5, "val", 3, 2))
    assert torch.equal(source.episodes("val", 3, 2).key, expected)
    assert source.episodes("val", 3, 2).support_x.flatten().tolist() == [3, 4]
    assert source.remarks == ("mine",)
    assert keyed(source, 6) is source
