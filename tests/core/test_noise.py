"""Noise: a pure function of key, stream and index, and of the distributions that are promised."""

from collections import Counter
from math import factorial, sqrt

import pytest
import torch
from problems import keys

from maml_cli.core import noise

KEY = torch.tensor([5, -(2**63)])
N = 40_000


def of_splitmix(seed, count):
    """SplitMix64 in Python's integers, as its paper writes it."""
    mask, found = 2**64 - 1, []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        found.append(z ^ (z >> 31))
    return found


def test_words_are_those_of_the_published_generator(monkeypatch):
    # the first outputs for the seed 1234567, as published with the algorithm
    assert of_splitmix(1234567, 3) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
    mixed = noise._mixed
    calls = []

    def with_seed(word):  # the two calls before the stream make its seed
        calls.append(word)
        return torch.tensor(1234567) if len(calls) == 2 else mixed(word)

    monkeypatch.setattr(noise, "_mixed", with_seed)
    found = [word % 2**64 for word in noise.words(KEY, "x", 3).tolist()]
    assert found == of_splitmix(1234567, 3)


KINDS = {
    "words": lambda key, stream, n, start=0: noise.words(key, stream, n, start),
    "uniform": lambda key, stream, n, start=0: noise.uniform(key, stream, (n,), start),
    "normal": lambda key, stream, n, start=0: noise.normal(key, stream, (n,), start),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_depend_on_key_stream_and_index_alone(kind):
    draw = KINDS[kind]
    ten = draw(KEY, "a", 10)
    assert torch.equal(ten, draw(KEY.clone(), "a", 10))
    assert torch.equal(ten[:4], draw(KEY, "a", 4))  # more continue fewer
    assert torch.equal(ten[4:], draw(KEY, "a", 6, start=4))
    others = [draw(KEY, "b", 10), draw(KEY + torch.tensor([0, 1]), "a", 10)]
    others += [draw(KEY + torch.tensor([1, 0]), "a", 10), draw(KEY.flip(0), "a", 10)]
    seen = torch.cat([ten, *others])
    assert len(seen.unique()) == 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_keys_is_each_by_itself(kind):
    draw = KINDS[kind]
    alone = torch.stack([draw(key, "a", 5) for key in keys(7)])
    assert torch.equal(torch.func.vmap(lambda key: draw(key, "a", 5))(keys(7)), alone)
    assert len(alone.unique()) == 35


def test_a_shape_holds_the_numbers_in_a_row():
    flat = noise.normal(KEY, "a", (24,))
    assert torch.equal(noise.normal(KEY, "a", (2, 3, 4)), flat.view(2, 3, 4))
    assert noise.uniform(KEY, "a", ()).shape == ()


@pytest.mark.parametrize("across", ["indices", "keys", "streams"])
def test_uniform_numbers(across):
    """Mean 1/2 and variance 1/12, within five standard errors, and nothing outside of (0, 1)."""
    found = drawn(noise.uniform, across)
    assert found.dtype == torch.float64
    assert found.min() > 0
    assert found.max() < 1
    n = len(found)
    assert abs(found.mean().item() - 1 / 2) < 5 / sqrt(12 * n)
    # the fourth central moment is 1/80, so the variance of squares is 1/80 - 1/144 = 1/180
    assert abs((found - 1 / 2).square().mean().item() - 1 / 12) < 5 / sqrt(180 * n)
    counts = torch.histc(found, 20, 0, 1)
    assert (counts - n / 20).abs().max() < 5 * sqrt(n * 0.05 * 0.95)
    pairs = ((found[:-1] - 1 / 2) * (found[1:] - 1 / 2)).mean().item()  # neighbours are unrelated
    assert abs(pairs) < 5 / (12 * sqrt(n))


@pytest.mark.parametrize("across", ["indices", "keys"])
def test_normal_numbers(across):
    """Moments 0, 1, 0 and 3, within five standard errors."""
    found = drawn(noise.normal, across)
    n = len(found)
    # variances of x, x^2, x^3 and x^4: 1, 2, 15 and 105 - 9 = 96
    for power, (moment, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
        assert abs(found.pow(power).mean().item() - moment) < 5 * sqrt(variance / n), power


def drawn(kind, across):
    if across == "indices":
        return kind(KEY, "a", (N,))
    if across == "keys":
        return torch.func.vmap(lambda key: kind(key, "a", ()))(keys(N))
    return torch.stack([kind(KEY, f"stream {i}", ()) for i in range(2_000)])


def test_streams_are_unrelated():
    one, other = (noise.normal(KEY, stream, (N,)) for stream in ("a", "b"))
    assert abs((one * other).mean().item()) < 5 / sqrt(N)


def test_permutations_have_every_order_about_as_often():
    """Four examples have 24 orders; 4,800 episodes: 200 each, within five deviations of 13.8."""
    found = torch.func.vmap(lambda key: noise.permutation(key, "a", 4))(keys(4_800))
    counts = Counter(map(tuple, found.tolist()))
    assert len(counts) == factorial(4)
    assert all(sorted(order) == [0, 1, 2, 3] for order in counts)
    assert all(abs(count - 200) < 69 for count in counts.values())


def test_each_index_is_a_permutation_of_its_own():
    orders = [tuple(noise.permutation(KEY, "a", 8, i).tolist()) for i in range(50)]
    assert len(set(orders)) == 50
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert orders[3] == tuple(noise.permutation(KEY, "a", 8, 3).tolist())
