"""Episodes of images: the right pixels with the right labels, turned as asked."""

from collections import Counter

import numpy as np
import pytest
import torch

from maml_cli.core.types import Split
from maml_cli.data.images import ImageTasks, image_pool, shortfalls
from maml_cli.data.sampler import episode_keys

CPU = torch.device("cpu")
CORNERS = np.array([[1, 2], [4, 3]], np.uint8)  # clockwise from the top left
TURNED = {  # counter-clockwise
    0: [[1, 2], [4, 3]],
    1: [[2, 3], [1, 4]],
    2: [[3, 4], [2, 1]],
    3: [[4, 1], [3, 2]],
}


def corner_images(classes: int, images: int) -> np.ndarray:
    """Class c, image i: CORNERS + 10 * c + 100 * i, one channel."""
    c, i = np.ogrid[:classes, :images]
    offset = (10 * c + 100 * i)[..., None, None, None]
    return (CORNERS + offset).astype(np.uint8)


def tasks(images, rotations, run, scale=1.0, shift=0.0):
    return ImageTasks(
        {"train": image_pool(images, CPU, rotations)},
        run,
        scale=[scale],
        shift=[shift],
        checksum="",
    )


def decode(picture: torch.Tensor) -> tuple[int, int, int]:
    """Class, image and turn of a picture made by `corner_images`."""
    values = picture[0].long()
    image, rest = divmod(int(values.min()) - 1, 100)
    corners = (values - 100 * image - rest).tolist()
    return rest // 10, image, next(k for k, turned in TURNED.items() if turned == corners)


def test_labels_pixels_and_shapes(run_settings):
    run = run_settings(ways=3, shots=1, queries=1)
    source = tasks(corner_images(4, 2), "none", run)
    assert source.input_shape == (1, 2, 2)
    assert (source.output_size, source.train_classes) == (3, 4)
    assert source.curve_episodes(1) is None
    episode = source.episodes("train", 0, 50)
    assert episode.support_x.shape == episode.query_x.shape == (50, 3, 1, 2, 2)
    assert episode.support_x.dtype == torch.float32
    assert episode.support_y.dtype == episode.classes.dtype == torch.int64
    assert episode.support_y.tolist() == episode.query_y.tolist() == [[0, 1, 2]] * 50
    for support, _, query, _, classes, _ in zip(*episode, strict=True):
        left, right = [decode(x) for x in support], [decode(x) for x in query]
        assert [c for c, _, _ in left] == [c for c, _, _ in right] == classes.tolist()
        assert all(i + j == 1 for (_, i, _), (_, j, _) in zip(left, right, strict=True))
        assert {k for _, _, k in left + right} == {0}


def test_labels_of_several_shots_and_queries_are_sorted_by_class(run_settings):
    source = tasks(
        corner_images(2, 2).repeat(3, axis=1), "none", run_settings(ways=2, shots=2, queries=4)
    )
    episode = source.episodes("train", 3, 2)
    assert episode.support_y.tolist() == [[0, 0, 1, 1]] * 2
    assert episode.query_y.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]] * 2


def test_bytes_become_numbers_by_scale_and_shift_per_channel(run_settings):
    images = np.full((1, 2, 2, 1, 1), 51, np.uint8)
    pools = {"train": image_pool(images, CPU, "none")}
    run = run_settings(ways=1, shots=1, queries=1)
    source = ImageTasks(pools, run, scale=[1 / 255, -2.0], shift=[0.0, 2.0], checksum="")
    pixels = source.episodes("train", 0, 1).query_x.flatten()
    assert pixels.tolist() == pytest.approx([0.2, -100.0])


def test_episode_rotation_turns_all_images_of_a_class_alike(run_settings):
    source = tasks(corner_images(5, 2), "episode", run_settings(ways=3, shots=1, queries=1))
    seen = Counter()
    episode = source.episodes("train", 0, 400)
    for support, _, query, _, classes, _ in zip(*episode, strict=True):
        left, right = [decode(x) for x in support], [decode(x) for x in query]
        assert [(c, k) for c, _, k in left] == [(c, k) for c, _, k in right]
        assert [c for c, _, _ in left] == classes.tolist()  # a turned class keeps its number
        assert len({c for c, _, _ in left}) == 3
        seen.update((c, k) for c, _, k in left)
    # 1200 draws over 5 classes in 4 turns: mean 60, standard deviation below sqrt(60) = 7.7
    assert len(seen) == 20
    assert all(abs(count - 60) < 5 * 7.7 for count in seen.values())


def test_rotations_as_classes_can_meet_in_an_episode(run_settings):
    source = tasks(corner_images(1, 2), "classes", run_settings(ways=4, shots=1, queries=1))
    assert source.train_classes == 4
    episode = source.episodes("train", 0, 20)
    for support, classes in zip(episode.support_x, episode.classes, strict=True):
        assert [decode(x)[2] for x in support] == classes.tolist()  # a turned class is another
        assert set(classes.tolist()) == {0, 1, 2, 3}


def test_an_episode_does_not_depend_on_its_batch(run_settings):
    source = tasks(corner_images(6, 2), "episode", run_settings(ways=5, shots=1, queries=1))
    eight, one = source.episodes("train", 0, 8), source.episodes("train", 3, 1)
    assert all(torch.equal(many[3], single[0]) for many, single in zip(eight, one, strict=True))
    assert not torch.equal(eight.support_x[3], eight.support_x[4])


def test_every_episode_has_a_key_of_its_own(run_settings):
    run = run_settings(ways=2, shots=1, queries=1, seed=5)
    pools = {split: image_pool(corner_images(4, 2), CPU, "none") for split in ("train", "test")}
    source = ImageTasks(pools, run, scale=[1.0], shift=[0.0], checksum="")
    for split in pools:
        key = source.episodes(split, 3, 2).key
        assert key.dtype == torch.int64
        assert key.tolist() == episode_keys(5, split, 3, 2).tolist()


def test_what_a_data_set_lacks_is_said_with_the_arithmetic(run_settings):
    splits = {"train": Split(1150, 20), "val": Split(50, 20), "test": Split(423, 20)}
    assert shortfalls("omniglot", splits, run_settings(ways=50, shots=10, queries=10)) == []
    assert shortfalls("omniglot", splits, run_settings(ways=200, shots=15, queries=10)) == [
        'ways=200 needs 200 classes, but split "val" of omniglot has 50: lower ways to at most 50.',
        "shots=15 + queries=10 needs 25 images per class, but omniglot has 20: lower one of them.",
    ]
    assert shortfalls("omniglot", splits, run_settings(ways=500)) == [
        'ways=500 needs 500 classes, but split "val" of omniglot has 50 and '
        'split "test" of omniglot has 423: lower ways to at most 50.'
    ]
    assert shortfalls("mine", {"val": Split(1, 20)}, run_settings(ways=2)) == [
        "ways=2 needs 2 classes, but mine has 1: add classes."
    ]


def test_training_may_have_shots_and_queries_of_its_own(run_settings):
    images = corner_images(2, 2).repeat(5, axis=1)
    run = run_settings(ways=2, shots=1, queries=2, train_shots=3, train_queries=5)
    pools = {split: image_pool(images, CPU, "none") for split in ("train", "test")}
    source = ImageTasks(pools, run, scale=[1.0], shift=[0.0], checksum="")
    sizes = {
        split: [field.shape[1] for field in source.episodes(split, 0, 1)[:4]] for split in pools
    }
    assert sizes == {"train": [6, 6, 10, 10], "test": [2, 2, 4, 4]}
    splits = {"train": Split(64, 300), "test": Split(20, 600)}
    assert shortfalls("pictures", splits, run_settings(shots=5, queries=15, train_queries=296)) == [
        "shots=5 + queries=15 and train_queries=296 needs 301 images per class, "
        'but split "train" of pictures has 300: lower one of them.'
    ]


def test_training_may_have_ways_of_its_own(run_settings):
    images = corner_images(6, 2)
    pools = {split: image_pool(images, CPU, "episode") for split in ("train", "val", "test")}

    def source(**changes):
        run = run_settings(ways=3, shots=1, queries=1, **changes)
        return ImageTasks(pools, run, scale=[1.0], shift=[0.0], checksum="")

    own, plain = source(train_ways=5), source()
    assert (own.output_size, own.train_classes) == (3, 6)
    episode = own.episodes("train", 0, 40)
    assert episode.support_y.tolist() == episode.query_y.tolist() == [[0, 1, 2, 3, 4]] * 40
    for support, _, query, _, classes, _ in zip(*episode, strict=True):
        assert [decode(x)[0] for x in support] == [decode(x)[0] for x in query] == classes.tolist()
        assert len(set(classes.tolist())) == 5
    for split, train_ways in (("val", 5), ("test", 5), ("val", 2), ("test", 2), ("train", 3)):
        one, other = (s.episodes(split, 7, 9) for s in (source(train_ways=train_ways), plain))
        assert all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def test_each_split_is_checked_by_its_own_ways(run_settings):
    splits = {"train": Split(1150, 20), "val": Split(50, 20), "test": Split(423, 20)}
    assert shortfalls("omniglot", splits, run_settings(ways=50, train_ways=1150)) == []
    assert shortfalls("omniglot", splits, run_settings(ways=5, train_ways=1151)) == [
        'train_ways=1151 needs 1151 classes, but split "train" of omniglot has 1150: '
        "lower train_ways to at most 1150."
    ]
    assert shortfalls("omniglot", splits, run_settings(ways=2000, train_ways=1151)) == [
        'ways=2000 needs 2000 classes, but split "val" of omniglot has 50 and '
        'split "test" of omniglot has 423: lower ways to at most 50.',
        'train_ways=1151 needs 1151 classes, but split "train" of omniglot has 1150: '
        "lower train_ways to at most 1150.",
    ]
    assert shortfalls("omniglot", splits, run_settings(ways=51, train_ways=20)) == [
        'ways=51 needs 51 classes, but split "val" of omniglot has 50: lower ways to at most 50.'
    ]


def test_only_the_splits_that_lack_images_are_named(run_settings):
    splits = {"train": Split(64, 300), "val": Split(16, 300), "test": Split(20, 600)}
    assert shortfalls("pictures", splits, run_settings(shots=300, queries=1)) == [
        'shots=300 + queries=1 needs 301 images per class, but split "train" of pictures has 300 '
        'and split "val" of pictures has 300: lower one of them.'
    ]


@pytest.mark.parametrize("rotations", ["none", "episode", "classes"])
def test_queries_have_the_names_of_their_class_and_file(run_settings, rotations):
    """The pixels tell class and image; the file of a turned image is that of the image."""
    images = corner_images(3, 2)
    pool = image_pool(images, CPU, rotations, ["a", "b", "c"], lambda c, i: f"{'abc'[c]}/{i}")
    run = run_settings(ways=3, shots=1, queries=1)
    source = ImageTasks({"test": pool}, run, scale=[1.0], shift=[0.0], checksum="")
    names = source.class_names("test")
    assert len(names) == (12 if rotations == "classes" else 3)
    files, episodes = source.query_files("test", 5, 4), source.episodes("test", 5, 4)
    for episode in range(4):
        labels = episodes.query_y[episode].tolist()
        for file, x, label in zip(files[episode], episodes.query_x[episode], labels, strict=True):
            c, i, k = decode(x)
            assert file == f"{'abc'[c]}/{i}"
            turned = f" turned by {90 * k} degrees" if k and rotations == "classes" else ""
            assert names[episodes.classes[episode, label]] == f"{'abc'[c]}{turned}"
    assert tasks(images, rotations, run).query_files("train", 0, 1) is None
