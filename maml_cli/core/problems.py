"""Optimisation problems as tasks: what optimisers, learned or made by hand, are compared on."""

from typing import Protocol

from torch import Tensor

from maml_cli.core.network import Network
from maml_cli.core.types import TaskSource, Tensors


class Problems(TaskSource, Protocol):
    """A loaded data set that is a distribution of optimisation problems.

    Problem i is a pure function of (seed, split, i): the loss of a network's parameters phi on the
    support set of episode i, and the start that its key gives. The queries mean nothing.
    """

    network: Network
    """Whose parameters phi are sought, all of them."""
    batch: int | None
    """Examples that a step draws from the support set; None: it sees all of them."""

    def start(self, key: Tensor) -> Tensors:
        """Where the problem with this key begins."""
        ...
