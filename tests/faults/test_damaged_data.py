"""Data that are damaged or hostile: refused by name with exit code 3, and left as they are."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults import data_faults as f
from faults.damage import contents, flip

from maml_cli.core.errors import DataError
from maml_cli.core.types import Split
from maml_cli.data import mini_imagenet
from maml_cli.data.mini_imagenet_files import find_pictures
from maml_cli.data.pictures import Recipe, decoded

TINY = (
    *("algo=maml", "ways=2", "queries=1", "backbone.filters=4", "train.tasks_per_batch=2"),
    *("train.epochs=1", "train.iterations_per_epoch=1", "eval.val_episodes=2"),
    *("eval.test_episodes=2", "dataset.image_size=16", "cache_dir=cache", "hydra.run.dir=run"),
)
FEW = [
    *(f.no_class, f.half_a_picture, f.a_bit_of_an_archive, f.half_an_archive),
    *(f.a_name_in_the_folder_above, f.a_bomb, f.a_link, f.a_device, f.half_a_part),
]
"""Those of the quick tier."""


@pytest.fixture(autouse=True)
def small_standard(monkeypatch):
    small = {split: Split(classes, f.IMAGES) for split, classes in f.CLASSES.items()}
    monkeypatch.setattr(mini_imagenet, "STANDARD", small)
    monkeypatch.setattr(mini_imagenet, "IMAGES", f.IMAGES)


@pytest.fixture
def laid_out(tmp_path) -> Callable[[Callable], Path]:
    """Lays out a data set; returns its folder."""

    def lay_out(layout: Callable[[Path], None]) -> Path:
        root = tmp_path / "data" / dataset(layout)
        layout(root)
        return root

    return lay_out


def dataset(layout: Callable) -> str:
    return "omniglot" if layout is f.omniglot else "mini_imagenet"


@pytest.mark.parametrize(
    "layout",
    [
        *(f.folders, f.one_zip, f.one_tar, f.compressed_tar, f.pickles),
        pytest.param(f.omniglot, marks=pytest.mark.faults_full),
    ],
)
def test_a_run_on_whole_data_ends_well(laid_out, maml_train, layout):
    root = laid_out(layout)
    whole = contents(root)
    run = maml_train(f"dataset={dataset(layout)}", *TINY)
    assert run.code == 0, run.err
    assert contents(root) == whole


@pytest.mark.parametrize(
    ("layout", "fault"),
    [
        pytest.param(
            *(layout, fault),
            id=f"{layout.__name__}-{fault.__name__}",
            marks=() if fault in FEW else pytest.mark.faults_full,
        )
        for layout, faults in f.FAULTS.items()
        for fault in faults
    ],
)
def test_damaged_data_are_refused_and_left_alone(tmp_path, laid_out, maml_train, layout, fault):
    if fault in f.RIGHTS and os.geteuid() == 0:
        pytest.skip("root may read everything")
    root = laid_out(layout)
    whole = contents(root)
    named = fault(root)
    damaged = contents(root)
    assert damaged != whole

    run = maml_train(f"dataset={dataset(layout)}", *TINY)

    assert run.code == 3, run.err
    assert any(named in message for message in run.errors), run.err
    assert "Traceback" not in run.err
    assert contents(root) == damaged
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "cache", "run"}
    assert not list(tmp_path.rglob(f.ESCAPED))
    assert not list(tmp_path.glob("cache/*.npy"))  # nothing half-made that later runs would map
    assert not list(tmp_path.glob("run/*.json*"))


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.faults_full)])
@pytest.mark.parametrize("layout", [f.one_zip, f.one_tar, f.compressed_tar])
def test_no_flipped_bit_changes_a_picture(laid_out, layout, count):
    root = laid_out(layout)
    (archive,) = root.iterdir()
    whole, pictures = archive.read_bytes(), seen(root)
    dice, refusals, lost = random.Random(count), [], 0
    for _ in range(count):
        flip(archive, dice.randrange(8 * len(whole)))
        try:
            found = seen(root)
            assert found.items() <= pictures.items()
            lost += len(found) < len(pictures)  # they are missed in a count
        except DataError as error:
            refusals.append(str(error))
        archive.write_bytes(whole)
    assert all(archive.name in refusal for refusal in refusals)
    assert len(refusals) + lost > count / 4  # the others hit padding, dates and the like


def seen(root: Path) -> dict[str, bytes]:
    """The pixels of each picture of an archive."""
    splits = find_pictures(root).splits
    pictures = [picture for classes in splits.values() for c in classes for picture in c.pictures]
    recipe = Recipe(size=84, channels=3, fit="stretch")
    return {
        pictures[place].name: np.asarray(pixels).tobytes()
        for place, pixels in decoded(pictures, recipe, None, "them")
    }
