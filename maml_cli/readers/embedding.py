"""What a reader sees of an input."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from maml_cli.core.network import Network
from maml_cli.core.norms import Norm
from maml_cli.core.types import Tensors


class Embedded(Protocol):
    """What a reader sees of an input."""

    @property
    def network(self) -> Network: ...

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters."""
        ...

    def __call__(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """`(examples, ...)` for inputs `(examples, ...)`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The network's features, or a linear map of them."""

    network: Network
    width: int | None = None
    """Outputs of the linear map, which is the network's head; None: the features as they are."""

    @property
    def size(self) -> int:
        """Numbers per input."""
        return self.width or torch.Size(self.network.feature_shape).numel()

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters."""
        body = self.network.init(generator)
        return body | (self.network.init_head(self.width, generator) if self.width else {})

    def __call__(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """`(examples, size)` for inputs `(examples, ...)`."""
        if self.width:
            return self.network.outputs(params, x, norm)
        return self.network.features(params, x, norm).flatten(1)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """An embedding that leaves inputs as they are, for a reader with networks of its own."""

    network: Network

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """There are no parameters."""
        return {}

    def __call__(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """The inputs."""
        return x
