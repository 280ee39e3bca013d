"""Episode draws: uniform, without replacement, the same in whatever batch they are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maml_cli.data.images import consecutive
from maml_cli.data.sampler import (
    Classes,
    choose,
    episode_keys,
    episode_words,
    image_indices,
    uniform,
    words_per_episode,
)


def test_words_are_the_stream_of_philox_cut_into_whole_counts():
    stream = np.random.Philox(key=[7, 1]).random_raw(4 * 12).reshape(4, 12)
    # 10 words need 3 counts of 4 words
    assert np.array_equal(episode_words(7, "val", 0, 4, size=10), stream[:, :10])
    assert np.array_equal(episode_words(7, "val", 2, 2, size=10), stream[2:, :10])


def test_words_differ_between_seeds_splits_and_episodes():
    first = episode_words(0, "train", 0, 1, size=8)
    for other in ((1, "train", 0), (0, "val", 0), (0, "test", 0), (0, "train", 1)):
        assert not np.isin(episode_words(*other, 1, size=8), first).any()


def test_keys_are_two_words_of_a_stream_beside_those_of_the_splits():
    for split, stream in (("train", 3), ("val", 4), ("test", 5)):  # 0, 1 and 2 draw episodes
        words = np.random.Philox(key=[7, stream]).random_raw(4 * 6).reshape(6, 4)[:, :2].tolist()
        signed = [[w - 2**64 if w >= 2**63 else w for w in row] for row in words]
        assert episode_keys(7, split, 0, 6).tolist() == signed
        assert episode_keys(7, split, 4, 2).tolist() == signed[4:]
        assert episode_keys(7, split, 0, 6).dtype == np.int64


def test_no_key_is_met_twice():
    keys = [
        episode_keys(seed, split, start, 1000)
        for seed in (0, 1)
        for split in ("train", "val", "test")
        for start in (0, 10**12)
    ]
    assert len(np.unique(np.concatenate(keys))) == 2 * 2 * 3 * 2 * 1000  # every word is another


def test_far_episodes_and_the_largest_seed_are_reachable():
    assert episode_words(2**32 - 1, "test", 10**12, 2, size=1600).shape == (2, 1600)


def test_uniform_spans_the_interval():
    words = np.array([0, 2**63, 2**64 - 1], np.uint64)
    low, middle, high = uniform(words, -5.0, 5.0)
    assert (low, middle) == (-5.0, 0.0)
    assert high == pytest.approx(5.0)
    assert uniform(words, 0.0, 1.0)[2] == 1 - 2.0**-53


def test_choose_takes_the_places_of_the_smallest_words_in_their_order():
    words = np.array([[400, 80, 720, 240], [8, 8, 0, 8]], np.uint64)
    assert choose(words, 2).tolist() == [[1, 3], [2, 0]]  # equal words: the earlier place
    assert choose(words, 4).tolist() == [[1, 3, 0, 2], [2, 0, 1, 3]]


def test_choose_from_one():
    assert choose(np.array([[2**64 - 1]], np.uint64), 1).tolist() == [[0]]


def test_every_ordered_choice_is_equally_likely():
    draws = 20_000
    pairs = choose(episode_words(3, "train", 0, draws, size=5), 2)
    counts = np.bincount(pairs[:, 0] * 5 + pairs[:, 1], minlength=25).reshape(5, 5)
    assert (counts.diagonal() == 0).all()
    # each of 20 ordered pairs: mean 1000, standard deviation sqrt(20000 * 0.05 * 0.95) = 30.8
    assert np.abs(counts[~np.eye(5, dtype=bool)] - 1000).max() < 5 * 30.8


def test_turns_are_equally_likely_and_independent_of_the_class():
    classes, draws = consecutive(np.array([2, 2, 2])), 12_000
    words = episode_words(5, "train", 0, draws, words_per_episode(classes, 1))
    indices = image_indices(words, classes, ways=1, shots=1, queries=1, turns=4, turn_stride=6)
    rows = indices.support[:, 0] // 2
    # 12 turned classes: mean 1000 each
    assert stats.chisquare(np.bincount(rows, minlength=12)).pvalue > 1e-3


def test_choose_stays_below_the_limit_of_each_draw():
    words = np.array([[400, 80, 720, 240], [400, 80, 720, 240]], np.uint64)
    assert choose(words, 2, below=np.array([4, 3])).tolist() == [[1, 3], [1, 0]]
    largest = np.full((1, 3), 2**64 - 1, np.uint64)
    assert choose(largest, 1, below=np.array([1])).tolist() == [[0]]
    assert choose(largest, 3, below=np.array([3])).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("split", "support", "query", "numbers"),
    [
        ("train", [16, 2, 8], [17, 19, 3, 0, 10, 11], [4, 0, 2]),
        ("val", [8, 7, 1], [11, 9, 4, 6, 2, 0], [2, 1, 0]),
        ("test", [9, 3, 7], [8, 11, 1, 0, 6, 4], [2, 0, 1]),
    ],
)
def test_episodes_stay_what_they_were_when_the_first_results_were_found(
    split, support, query, numbers
):
    classes = consecutive(np.array([4] * 6))
    words = episode_words(3, split, 6, 1, words_per_episode(classes, 3))
    found = image_indices(words, classes, ways=3, shots=1, queries=2)
    assert [rows[0].tolist() for rows in found] == [support, query, numbers]


def test_classes_are_drawn_alike_and_so_are_the_images_of_each_whatever_their_number():
    classes, draws = Classes(starts=np.array([0, 10]), counts=np.array([2, 6])), 24_000
    words = episode_words(8, "train", 0, draws, words_per_episode(classes, 1))
    support = image_indices(words, classes, ways=1, shots=1, queries=1).support[:, 0]
    # 12,000 draws of each class: 6,000 of each of two images, 2,000 of each of six
    assert set(support) == {0, 1, 10, 11, 12, 13, 14, 15}
    counts = np.bincount(support, minlength=16)[[0, 1, *range(10, 16)]]
    assert stats.chisquare(counts, [6000] * 2 + [2000] * 6).pvalue > 1e-3


sizes = st.tuples(
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.integers(0, 3), min_size=6, max_size=11),
)


@given(sizes, st.sampled_from([1, 4]), st.integers(0, 2**32 - 1), st.integers(0, 10**9))
def test_episodes_are_disjoint_balanced_and_independent_of_the_batch(sizes, turns, seed, start):
    ways, shots, queries, more_images = sizes
    classes = consecutive(np.array(more_images) + shots + queries)
    rows = int(classes.counts.sum())
    class_of = np.tile(np.repeat(np.arange(len(more_images)), classes.counts), turns)

    def draw(start: int, count: int):
        words = episode_words(seed, "test", start, count, words_per_episode(classes, ways))
        return image_indices(
            words, classes, ways=ways, shots=shots, queries=queries, turns=turns, turn_stride=rows
        )

    batch = draw(start, 3)
    for one, three in zip(draw(start + 1, 1), batch, strict=True):
        assert np.array_equal(one[0], three[1])
    for support, query, numbers in zip(*batch, strict=True):
        drawn = np.concatenate([support, query])
        assert len(set(drawn)) == ways * (shots + queries)
        assert 0 <= drawn.min() <= drawn.max() < turns * rows
        by_way = np.concatenate([support.reshape(ways, shots), query.reshape(ways, queries)], 1)
        chosen = class_of[by_way]
        assert (chosen == chosen[:, :1]).all()
        assert (by_way // rows == by_way[:, :1] // rows).all()  # all in the same turn
        assert (chosen[:, 0] == numbers).all()
        assert len(set(numbers)) == ways  # a class appears in one turn only
