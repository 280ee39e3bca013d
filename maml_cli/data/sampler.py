"""Which classes, images and numbers make up episode i: a pure function of (seed, split, i).

Random words come from Philox4x64, a counter-based generator: (seed, split) is the generator's key,
and every episode owns a range of the counter. Consecutive episodes are thus one call, and an
episode stays the same in whatever batch it is asked for. The keys of the episodes come from other
streams.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

_WORDS_PER_COUNT = 4
_WORDS_PER_KEY = 2


def episode_words(seed: int, split: str, start: int, count: int, size: int) -> Words:
    """The `size` random words of each of episodes start to start+count-1: `(count, size)`."""
    return _words(seed, SPLITS.index(split), start, count, size)


def episode_keys(seed: int, split: str, start: int, count: int) -> Indices:
    """The keys of episodes start to start+count-1: `(count, 2)`, words as signed integers.

    No word of a key is among the words that `episode_words` draws an episode from.
    """
    words = _words(seed, SPLITS.index(split) + len(SPLITS), start, count, _WORDS_PER_KEY)
    return np.ascontiguousarray(words).view(np.int64)


def _words(seed: int, stream: int, start: int, count: int, size: int) -> Words:
    """The `size` first words of each episode's range of a stream: `(count, size)`."""
    counts = -(-size // _WORDS_PER_COUNT)
    generator = np.random.Philox(key=[seed, stream], counter=start * counts)
    words = generator.random_raw(count * counts * _WORDS_PER_COUNT)
    return words.reshape(count, counts * _WORDS_PER_COUNT)[:, :size]


def uniform(words: Words, low: float, high: float) -> NDArray[np.float64]:
    """Uniform numbers in [low, high), one per word, from its upper 53 bits."""
    unit: NDArray[np.float64] = (words >> np.uint64(11)) * 2.0**-53
    return low + (high - low) * unit


def choose(words: Words, k: int, below: Indices | None = None) -> Indices:
    """Draw k different integers below n, all choices equally likely: `(..., n)` to `(..., k)`.

    They are the places of the k smallest words, smallest first. Each word's lowest bits are
    replaced by its place: no two are then equal, whatever the sorting algorithm of a machine.
    Of `below` `(...)`, each from k to n, the integers of that draw are below its own limit.
    """
    n = words.shape[-1]
    place_bits = np.uint64((1 << (n - 1).bit_length()) - 1)
    places = np.arange(n, dtype=np.uint64)
    keys = words & ~place_bits | places
    if below is not None:
        keys[places >= below[..., None].astype(np.uint64)] = np.uint64(2**64 - 1)
    smallest = np.sort(np.partition(keys, k - 1, axis=-1)[..., :k], axis=-1)
    chosen: Indices = (smallest & place_bits).astype(np.int64)
    return chosen


class Classes(NamedTuple):
    """Where the images of each class lie in a pool: `counts[c]` rows from `starts[c]` on."""

    starts: Indices
    counts: Indices


class ImageIndices(NamedTuple):
    """Rows of a pool of images, class by class.

    `support` is `(episodes, ways * shots)`, `query` is `(episodes, ways * queries)`, and `classes`,
    `(episodes, ways)`, are the places of the classes in the pool.
    """

    support: Indices
    query: Indices
    classes: Indices


def words_per_episode(classes: Classes, ways: int) -> int:
    """What `image_indices` uses: a word per class, per image of each chosen class, and per turn."""
    return len(classes.counts) + ways * int(classes.counts.max()) + ways


def image_indices(
    words: Words,
    classes: Classes,
    *,
    ways: int,
    shots: int,
    queries: int,
    turns: int = 1,
    turn_stride: int = 0,
) -> ImageIndices:
    """Draw classes, all equally likely, and the support and query images of each, all different.

    `words` is `(episodes, words_per_episode)`. Of each class there are `turns` copies, in a pool
    `turn_stride` rows after each other; a chosen class is taken from one of them. A class with more
    images than another is not drawn more often, and each of its images has the same probability.
    """
    number, most = len(classes.counts), int(classes.counts.max())
    by_class, by_image, by_turn = np.split(words, [number, number + ways * most], axis=-1)
    chosen = choose(by_class, ways)
    turn = (by_turn % np.uint64(turns)).astype(np.int64)
    images = choose(
        by_image.reshape(len(words), ways, most), shots + queries, below=classes.counts[chosen]
    )
    rows = (classes.starts[chosen] + turn_stride * turn)[..., None] + images
    return ImageIndices(
        support=rows[..., :shots].reshape(len(words), -1),
        query=rows[..., shots:].reshape(len(words), -1),
        classes=chosen,
    )
