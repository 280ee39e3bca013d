"""Random numbers within a task, as a pure function of the episode's key.

A stream is named by what the numbers are for. Word i of a stream depends on the key, the stream and
i alone, so more words continue fewer, and the numbers are the same in any batch, on any engine,
device and number of processes, and after a resume. For a device without float64 they are computed
on the CPU and rounded.

Source: SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014).
"""

import zlib
from math import prod

import torch
from torch import Tensor

from maml_cli.core.precision import widest

# SplitMix64's constants as signed 64-bit integers
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_BITS = 53


def words(key: Tensor, stream: str, count: int, start: int | Tensor = 0) -> Tensor:
    """Words `start` to `start + count - 1` of a stream: uniform int64, shape `(count,)`.

    `key` is an episode's, `(2,)` int64.
    """
    seed = _mixed(_mixed(key[0] + zlib.crc32(stream.encode())) ^ key[1])
    counter = torch.arange(1, count + 1, device=key.device) + start
    return _mixed(seed + _GOLDEN * counter)


def uniform(key: Tensor, stream: str, shape: tuple[int, ...], start: int = 0) -> Tensor:
    """Uniform float64 numbers in (0, 1), of the shape, from the words `start` on."""
    return _rounded(_uniform(_exact(key), stream, shape, start), key)


def normal(key: Tensor, stream: str, shape: tuple[int, ...], start: int = 0) -> Tensor:
    """Standard normal float64 numbers of the shape, from the words `start` on."""
    found: Tensor = torch.special.ndtri(_uniform(_exact(key), stream, shape, start))
    return _rounded(found, key)


def permutation(key: Tensor, stream: str, n: int, index: int = 0) -> Tensor:
    """The numbers 0 to n-1 in a random order, `(n,)`; each `index` gives another order."""
    return words(key, stream, n, start=index * n).argsort(stable=True)


def _uniform(key: Tensor, stream: str, shape: tuple[int, ...], start: int) -> Tensor:
    bits = _shifted(words(key, stream, prod(shape), start), 64 - _BITS)
    return ((bits.double() + 0.5) * 2.0**-_BITS).reshape(shape)


def _exact(key: Tensor) -> Tensor:
    """The key where there is float64."""
    return key if widest(key.device) is torch.float64 else key.cpu()


def _rounded(numbers: Tensor, key: Tensor) -> Tensor:
    """The numbers on the key's device, as wide as it has them."""
    return numbers.to(widest(key.device)).to(key.device)


def _mixed(word: Tensor) -> Tensor:
    word = (word ^ _shifted(word, 30)) * _FIRST
    word = (word ^ _shifted(word, 27)) * _SECOND
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, bits: int) -> Tensor:
    """To the right, with zeros from the left, as for unsigned integers."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)
