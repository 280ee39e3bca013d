"""Which classes, images and numbers make up episode i: a pure function of (seed, split, i).

Random words come from Philox4x64, a counter-based generator: (seed, split) is the key, and every
episode owns a range of the counter. Consecutive episodes are thus one call, and an episode stays
the same in whatever batch it is asked for.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_cli.core.types import Split

SPLITS = ("train", "val", "test")

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

_WORDS_PER_COUNT = 4


def episode_words(seed: int, split: str, start: int, count: int, size: int) -> Words:
    """The `size` random words of each of episodes start to start+count-1: `(count, size)`."""
    counts = -(-size // _WORDS_PER_COUNT)
    generator = np.random.Philox(key=[seed, SPLITS.index(split)], counter=start * counts)
    words = generator.random_raw(count * counts * _WORDS_PER_COUNT)
    return words.reshape(count, counts * _WORDS_PER_COUNT)[:, :size]


def uniform(words: Words, low: float, high: float) -> NDArray[np.float64]:
    """Uniform numbers in [low, high), one per word, from its upper 53 bits."""
    unit: NDArray[np.float64] = (words >> np.uint64(11)) * 2.0**-53
    return low + (high - low) * unit


def choose(words: Words, k: int) -> Indices:
    """Draw k different integers below n, each ordered choice alike: `(..., n)` to `(..., k)`.

    They are the places of the k smallest words, smallest first. Each word's lowest bits are
    replaced by its place: no two are then equal, whatever the sorting algorithm of a machine.
    """
    n = words.shape[-1]
    place_bits = np.uint64((1 << (n - 1).bit_length()) - 1)
    keys = words & ~place_bits | np.arange(n, dtype=np.uint64)
    smallest = np.sort(np.partition(keys, k - 1, axis=-1)[..., :k], axis=-1)
    places: Indices = (smallest & place_bits).astype(np.int64)
    return places


class ImageIndices(NamedTuple):
    """Rows of a pool of images, class by class.

    `support` is `(episodes, ways * shots)`, `query` is `(episodes, ways * queries)`.
    """

    support: Indices
    query: Indices


def words_per_episode(pool: Split, ways: int) -> int:
    """What `image_indices` uses: a word per class, per image of each chosen class, and per turn."""
    return pool.classes + ways * pool.images_per_class + ways


def image_indices(
    words: Words, pool: Split, *, ways: int, shots: int, queries: int, turns: int
) -> ImageIndices:
    """Draw classes, and for each its support and query images, all without replacement.

    `words` is `(episodes, words_per_episode)`. The pool holds `turns` copies of all its classes,
    one after the other; each chosen class is taken from one of them.
    """
    by_class, by_image, by_turn = np.split(
        words, [pool.classes, pool.classes + ways * pool.images_per_class], axis=-1
    )
    turn = (by_turn % np.uint64(turns)).astype(np.int64)
    classes = choose(by_class, ways) + pool.classes * turn
    images = choose(by_image.reshape(len(words), ways, pool.images_per_class), shots + queries)
    rows = classes[..., None] * pool.images_per_class + images
    return ImageIndices(
        rows[..., :shots].reshape(len(words), -1), rows[..., shots:].reshape(len(words), -1)
    )
