"""Training pictures changed at random: each by itself, and all by the episode's key alone."""

import numpy as np
import pytest
import torch

from maml_cli.commands.train import main
from maml_cli.data.augment import Augmentation
from maml_cli.data.images import ImageTasks, image_pool

CPU, SIZE, PADDING = torch.device("cpu"), 21, 2  # 8 of 84 pixels are 2 of 21
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 4, 3, SIZE, SIZE), np.uint8)
"""Three classes of four pictures."""


@pytest.fixture
def changed(run_settings):
    """The tasks of a seed, with these changes."""

    def made(*changes, seed=0):
        pools = {split: image_pool(PICTURES, CPU, "none") for split in ("train", "val", "test")}
        return ImageTasks(
            pools,
            run_settings(ways=3, shots=2, queries=2, seed=seed),
            scale=[1.0],
            shift=[0.0],
            checksum="",
            augmentation=Augmentation(changes, SIZE) if changes else None,
        )

    return made


def pairs(changed, *changes, count=20):
    """Each training picture as it is, and as it is changed."""
    plain, other = (
        tasks.raw_episodes("train", 0, count) for tasks in (changed(), changed(*changes))
    )
    for before, after in ((plain.support_x, other.support_x), (plain.query_x, other.query_x)):
        assert after.shape == before.shape
        assert after.dtype == torch.uint8
        yield from zip(before.flatten(0, 1).numpy(), after.flatten(0, 1).numpy(), strict=True)


def test_a_flip_mirrors_half_of_the_pictures(changed):
    mirrored = []
    for before, after in pairs(changed, "flip"):
        kept, flipped = np.array_equal(after, before), np.array_equal(after, before[..., ::-1])
        assert kept != flipped
        mirrored.append(flipped)
    assert 0.35 < np.mean(mirrored) < 0.65  # of 240; 4.6 standard deviations


def test_a_crop_is_a_window_of_the_picture_mirrored_at_its_edge(changed):
    places = set()
    for before, after in pairs(changed, "crop"):
        wide = np.pad(before, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(wide, (SIZE, SIZE), axis=(1, 2))
        matches = (windows == after[:, None, None]).all(axis=(0, 3, 4))
        assert matches.sum() == 1
        places.add(tuple(np.argwhere(matches)[0]))
    assert places == {(y, x) for y in range(5) for x in range(5)}


def test_colours_change_within_their_strength(changed):
    """A picture of one grey has no contrast and no saturation: only its brightness changes."""
    jitter = Augmentation(["colour"], SIZE)
    grey = torch.full((1, 300, 3, SIZE, SIZE), 100, dtype=torch.uint8)
    values = jitter(grey, torch.tensor([[1, 2]]), "support")[0, :, 0, 0, 0].float() / 100
    assert values.min() >= 0.57  # each of the three changes rounds down to whole values
    assert values.max() <= 1.4
    assert values.min() < 0.65
    assert values.max() > 1.35
    assert sum(not np.array_equal(*pair) for pair in pairs(changed, "colour")) > 230  # of 240


def test_an_episode_depends_on_seed_split_and_number_alone(changed):
    changes = ("crop", "flip", "colour")
    together = changed(*changes).raw_episodes("train", 0, 6)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    apart = changed(*reversed(changes)).raw_episodes("train", 4, 2)
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(together, apart, strict=True):
        assert torch.equal(one[4:], other)
    again = changed(*changes, seed=1).raw_episodes("train", 4, 2)
    assert not torch.equal(apart.support_x, again.support_x)


def test_support_and_queries_change_apart():
    episodes = torch.from_numpy(PICTURES)
    keys = torch.tensor([[1, 2], [3, 4], [1, 2]])
    change = Augmentation(["crop"], SIZE)
    same = episodes[:1].expand(3, -1, -1, -1, -1)
    support, query = change(same, keys, "support"), change(same, keys, "query")
    assert not torch.equal(support[0], query[0])
    assert not torch.equal(support[0], support[1])
    assert torch.equal(support[0], support[2])


def test_validation_and_test_are_not_changed(changed):
    for split in ("val", "test"):
        plain = changed().episodes(split, 0, 5)
        other = changed("crop", "flip", "colour").episodes(split, 0, 5)
        assert all(torch.equal(*fields) for fields in zip(plain, other, strict=True))


def test_the_table_says_what_is_changed(changed):
    assert changed().remarks == ()
    assert changed("colour", "crop").remarks == (
        "training pictures changed at random: moved by up to 2 of 21 pixels; brightness, contrast "
        "and saturation by up to 40%",
    )


def test_what_cannot_be_is_refused_at_once(tmp_path, capsys):
    run = f"hydra.run.dir={tmp_path / 'run'}"
    wrong = ["dataset.augment=[crop,blur]", "dataset.std=[0.1,0,0.3]", "dataset.mean=white"]
    assert main(["dataset=image_folder", run, *wrong]) == 2
    said = capsys.readouterr().err
    assert "dataset.augment=[crop,blur]: must be a list" in said
    assert main(["dataset=image_folder", f"dataset.path={tmp_path}", "dataset.augment=flip"]) == 2
    assert "must be a list" in (alone := capsys.readouterr().err)
    assert "write dataset.augment=[flip]" in alone
    assert "each crop, flip or colour" in said
    assert "dataset.std=[0.1,0,0.3]: must be a number, above 0, or a list, each" in said
    assert "dataset.mean=white: must be a number, or a list, each a number" in said
    assert main(["dataset=mini_imagenet", run, "dataset.std=[1,1]"]) == 2
    assert (
        "dataset.std=[1,1]: must be a list of 3, each a number, above 0" in capsys.readouterr().err
    )
    assert main(["dataset=omniglot", run, "dataset.augment=[flip]"]) == 2
    assert "is for dataset=image_folder and mini_imagenet" in capsys.readouterr().err
