"""A network as pure functions of its parameters: features, and a linear head beside them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Generator, Tensor

from maml_cli.core.norms import Norm, fresh_statistics
from maml_cli.core.types import Tensors

Part = Literal["body", "norm", "head"]
"""`head`: the last layer; `norm`: gains and biases of batch norms; `body`: everything else."""

HEAD = ("head.weight", "head.bias")


class Network(ABC):
    """A network for inputs of one shape, as a backbone's settings build it.

    Parameters are a flat dictionary: those of the body, named by the network, and those of the
    head, `head.weight` `(outputs, features)` and `head.bias` `(outputs,)`.
    """

    input_shape: tuple[int, ...]
    """Shape of one input."""
    feature_shape: tuple[int, ...]
    """Shape of one input's features."""
    norms: Mapping[str, int] = {}
    """Each batch norm, by the name that the norm is called with, and its number of features.

    Its gain and bias, where it has any, are the parameters `NAME.weight` and `NAME.bias`. A layer
    that mixes the examples of a batch in any other way cannot be declared and is not allowed.
    """
    remarks: tuple[str, ...] = ()
    """What a reader of the results must know of the network, such as what was guessed."""
    convolutional: bool = False
    """Whether it has convolutions, which decides what engine is quickest."""

    batches: bool = True
    """Whether it runs inside of `torch.func.vmap`, as the engines `vmap` and `graph` need."""

    @abstractmethod
    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters of the body."""

    @abstractmethod
    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """Features `(batch, *feature_shape)` of inputs `(batch, *input_shape)`."""

    @abstractmethod
    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        """Fresh parameters of a head with that many outputs."""

    def init_statistics(self) -> dict[str, Tensor]:
        """Running statistics before any training: `NAME.mean` zeros and `NAME.var` ones."""
        return fresh_statistics(self.norms)

    def head(self, params: Tensors, features: Tensor) -> Tensor:
        """Outputs `(batch, outputs)` for features `(batch, *feature_shape)`."""
        return F.linear(features.flatten(1), params["head.weight"], params["head.bias"])

    def outputs(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        """Outputs `(batch, outputs)` for inputs `(batch, *input_shape)`."""
        return self.head(params, self.features(params, x, norm))

    def part(self, name: str) -> Part:
        """The part that a parameter belongs to."""
        if name in HEAD:
            return "head"
        return "norm" if name.rpartition(".")[0] in self.norms else "body"
