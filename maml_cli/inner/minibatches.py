"""The minibatches of an inner loop that sees a part of the support set at each step."""

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea & Flood 2014), its constants as signed 64-bit integers
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def minibatches(support_x: Tensor, *, size: int, count: int) -> Tensor:
    """Rows of the support set for each of `count` minibatches, `(count, size)`.

    The minibatches run through the set in a random order, then in another one, and so on; one may
    begin in one order and end in the next. The orders are drawn from the bits of the inputs, so
    they belong to the episode: the same in any batch, and on any engine and device.

    Source: the official Reptile code, `_mini_batches` without replacement.
    """
    rows = len(support_x)
    orders = -(-count * size // rows)
    counter = torch.arange(orders * rows, device=support_x.device)
    words = _mixed(_mixed(_fingerprint(support_x)) + _GOLDEN * (counter + 1))
    order = words.view(orders, rows).argsort(dim=1, stable=True)
    return order.flatten()[: count * size].view(count, size)


def _fingerprint(values: Tensor) -> Tensor:
    """A number that depends on every value (of 16 significant bits) and on its place."""
    scaled = (values.flatten().double() * 2**16).round().long()
    place = torch.arange(len(scaled), device=values.device)
    return (_mixed(place) * scaled).sum()


def _mixed(words: Tensor) -> Tensor:
    words = (words ^ _shifted(words, 30)) * _FIRST
    words = (words ^ _shifted(words, 27)) * _SECOND
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """To the right, with zeros from the left, as for unsigned integers."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
