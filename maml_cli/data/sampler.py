"""Which classes, images and numbers make up episode i: a pure function of (seed, split, i).

Random words come from Philox4x64, a counter-based generator: the key is (seed, split) and every episode
owns a fixed range of the counter. A run of episodes is thus one call, and each of them stays the same
in whatever batches they are asked for.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_cli.core.types import Split

SPLITS = ("train", "val", "test")

Rotations = Literal["episode", "classes", "none"]
"""`episode`: every class of an episode is turned by its own k * 90 degrees; `classes`: a class turned
by k * 90 degrees is one of four classes; `none`: images stay as they are."""

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

_WORDS_PER_BLOCK = 4  # one step of the Philox4x64 counter gives four 64-bit words


def episode_words(seed: int, split: str, start: int, count: int, size: int) -> Words:
    """The `size` random words of each of episodes start to start+count-1: `(count, size)`."""
    blocks = -(-size // _WORDS_PER_BLOCK)
    generator = np.random.Philox(key=[seed, SPLITS.index(split)], counter=start * blocks)
    words = generator.random_raw(count * blocks * _WORDS_PER_BLOCK)
    return words.reshape(count, blocks * _WORDS_PER_BLOCK)[:, :size]


def uniform(words: Words, low: float, high: float) -> NDArray[np.float64]:
    """Uniform numbers in [low, high), one per word, from its upper 53 bits."""
    return low + (high - low) * ((words >> np.uint64(11)) * 2.0**-53)


def choose(words: Words, k: int) -> Indices:
    """k different integers below n, each ordered choice equally likely: `(..., n)` to `(..., k)`.

    They are the places of the k smallest words. The place itself is written into each word's lowest
    bits: no two are then equal, and the result does not depend on how a machine sorts.
    """
    n = words.shape[-1]
    place_bits = np.uint64((1 << (n - 1).bit_length()) - 1)
    tagged = words & ~place_bits | np.arange(n, dtype=np.uint64)
    if k < n:
        tagged = np.partition(tagged, k, axis=-1)[..., :k]
    return (np.sort(tagged, axis=-1) & place_bits).astype(np.int64)


class ImageIndices(NamedTuple):
    """Rows of an image pool, class by class: `(episodes, ways * shots)`, `(episodes, ways * queries)`."""

    support: Indices
    query: Indices


def image_indices(
    words: Words, pool: Split, *, ways: int, shots: int, queries: int, turns: int
) -> ImageIndices:
    """Classes, and for each its support and query images, all without replacement.

    `words` is `(episodes, words_per_episode(...))`. With `turns` > 1 the pool holds that many turned
    copies of all its classes one after the other, and each chosen class picks one of them.
    """
    episodes = len(words)
    by_class, by_image, by_turn = np.split(
        words, [pool.classes, pool.classes + ways * pool.images_per_class], axis=-1
    )
    classes = choose(by_class, ways)
    classes += pool.classes * (by_turn % np.uint64(turns)).astype(np.int64)
    images = choose(by_image.reshape(episodes, ways, pool.images_per_class), shots + queries)
    rows = classes[..., None] * pool.images_per_class + images
    return ImageIndices(
        rows[..., :shots].reshape(episodes, -1), rows[..., shots:].reshape(episodes, -1)
    )


def words_per_episode(pool: Split, ways: int) -> int:
    """What `image_indices` takes: a word per class, per image of each chosen class, and per turn."""
    return pool.classes + ways * pool.images_per_class + ways
