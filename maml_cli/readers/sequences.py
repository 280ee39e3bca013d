"""Examples in the order in which they are read, which is drawn from the episode's key."""

from typing import NamedTuple

import torch
from torch import Tensor

from maml_cli.core import noise
from maml_cli.core.types import Episode


class Examples(NamedTuple):
    """Examples in the order in which they are read."""

    x: Tensor
    """Embedded inputs, `(examples, ...)`."""
    y: Tensor
    """Class labels `(examples,)`, or numbers `(examples, 1)`."""
    shown: Tensor
    """`(examples,)` bool; an example that is not shown must change nothing."""


class Order(NamedTuple):
    """In which order examples are read, and which of them are shown."""

    places: Tensor
    shown: Tensor


def reading_order(episode: Episode, *, mixed_shots: bool) -> Order:
    """A random order of the support set, drawn from the episode's key.

    With `mixed_shots` the first s examples of each class are shown, after those that are not; s is
    uniform in 1 (for numbers 0) to all.
    """
    y = episode.support_y
    places = noise.permutation(episode.key, "reading order", len(y))
    if not mixed_shots:
        return Order(places, torch.ones_like(places, dtype=torch.bool))
    earlier = rounds(y[places])
    fewest, most = (0 if y.is_floating_point() else 1), earlier.amax() + 1
    share = noise.uniform(episode.key, "shots", (1,))
    shown = earlier < fewest + (share * (most + 1 - fewest)).floor()
    behind = shown.long().argsort(stable=True)
    return Order(places[behind], shown[behind])


def rounds(y: Tensor) -> Tensor:
    """How many earlier examples have the same label, `(examples,)`; of numbers, how many at all."""
    if y.is_floating_point():
        return torch.arange(len(y), device=y.device)
    same = y.unsqueeze(1) == y
    return same.long().tril(-1).sum(1)


def arranged(examples: Examples, order: Order) -> Examples:
    """The examples in an order."""
    return Examples(examples.x[order.places], examples.y[order.places], order.shown)


def all_shown(x: Tensor) -> Tensor:
    """That each of the examples x is shown."""
    return torch.ones(len(x), dtype=torch.bool, device=x.device)


def one_hot(y: Tensor, ways: int, like: Tensor) -> Tensor:
    """`(examples, ways)` for labels `(examples,)`, of the type of another tensor."""
    return (y.unsqueeze(-1) == torch.arange(ways, device=y.device)).to(like.dtype)
