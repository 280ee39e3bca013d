"""Episode draws: uniform, without replacement, the same in whatever batch they are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maml_cli.core.types import Split
from maml_cli.data.sampler import (
    choose,
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
    pool, draws = Split(classes=3, images_per_class=2), 12_000
    words = episode_words(5, "train", 0, draws, words_per_episode(pool, 1))
    indices = image_indices(words, pool, ways=1, shots=1, queries=1, turns=4)
    rows = indices.support[:, 0] // 2
    # 12 turned classes: mean 1000 each
    assert stats.chisquare(np.bincount(rows, minlength=12)).pvalue > 1e-3


sizes = st.tuples(
    st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 5), st.integers(0, 3)
)


@given(sizes, st.sampled_from([1, 4]), st.integers(0, 2**32 - 1), st.integers(0, 10**9))
def test_episodes_are_disjoint_balanced_and_independent_of_the_batch(sizes, turns, seed, start):
    ways, shots, queries, more_classes, more_images = sizes
    pool = Split(ways + more_classes, shots + queries + more_images)

    def draw(start: int, count: int):
        words = episode_words(seed, "test", start, count, words_per_episode(pool, ways))
        return image_indices(words, pool, ways=ways, shots=shots, queries=queries, turns=turns)

    batch = draw(start, 3)
    for one, three in zip(draw(start + 1, 1), batch, strict=True):
        assert np.array_equal(one[0], three[1])
    for support, query in zip(*batch, strict=True):
        rows = np.concatenate([support, query])
        assert len(set(rows)) == ways * (shots + queries)
        assert 0 <= rows.min() <= rows.max() < turns * pool.classes * pool.images_per_class
        classes = support // pool.images_per_class
        by_way = classes.reshape(ways, shots)
        assert (by_way == by_way[:, :1]).all()
        assert (query.reshape(ways, queries) // pool.images_per_class == by_way[:, :1]).all()
        assert len(set(by_way[:, 0] % pool.classes)) == ways  # a class appears in one turn only
