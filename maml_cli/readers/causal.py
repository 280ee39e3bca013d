"""Causal convolutions and attention over a sequence of examples with their labels.

Source: Mishra, Rohaninejad, Chen & Abbeel 2018, "A simple neural attentive meta-learner".
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from maml_cli.core.types import Tensors
from maml_cli.readers.linear_maps import fresh, linear
from maml_cli.readers.reader import Gradient, Reader
from maml_cli.readers.sequences import Examples, one_hot


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """Maps columns `(positions, inputs)` to wider ones, `(positions, inputs + added)`.

    `seen` are the layer's inputs at the support positions. Without it, x is a sequence; with it,
    each row of x is a column of its own that follows them.
    """

    name: str
    inputs: int

    @property
    @abstractmethod
    def added(self) -> int:
        """How many numbers the layer appends."""

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Inputs and outputs of each linear map."""

    @abstractmethod
    def __call__(self, params: Tensors, x: Tensor, seen: Tensor | None, shown: Tensor) -> Tensor:
        """The wider columns."""

    def linear(self, params: Tensors, part: str, x: Tensor) -> Tensor:
        """One of the linear maps."""
        return linear(params, f"{self.name}.{part}", x)


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """`[x_t, tanh(a) * sigmoid(b)]`, where a and b are linear in x_t and x_(t - rate).

    Before the sequence there are zeros. Source: figure 1a, the dense block: two causal convolutions
    of width 2 and dilation `rate`.
    """

    rate: int
    filters: int

    @property
    def added(self) -> int:
        return self.filters

    @property
    def sizes(self) -> Mapping[str, tuple[int, int]]:
        return {"convolution": (2 * self.inputs, 2 * self.filters)}

    def __call__(self, params: Tensors, x: Tensor, seen: Tensor | None, shown: Tensor) -> Tensor:
        if seen is None:
            earlier = F.pad(x, (0, 0, self.rate, 0))[: len(x)]
        elif self.rate <= len(seen):
            earlier = seen[len(seen) - self.rate].expand_as(x)
        else:
            earlier = torch.zeros_like(x)
        both = self.linear(params, "convolution", torch.cat([earlier, x], -1))
        signal, gate = both.chunk(2, -1)
        return torch.cat([x, signal.tanh() * gate.sigmoid()], -1)


@dataclass(frozen=True, kw_only=True)
class Attention(Layer):
    """`[x_t, sum_s a_s v_s]` over the positions s up to t, `a = softmax(k_s . q_t / sqrt(keys))`.

    Source: figure 1b, the attention block.
    """

    keys: int
    values: int

    @property
    def added(self) -> int:
        return self.values

    @property
    def sizes(self) -> Mapping[str, tuple[int, int]]:
        keys = (self.inputs, self.keys)
        return {"query": keys, "key": keys, "value": (self.inputs, self.values)}

    def __call__(self, params: Tensors, x: Tensor, seen: Tensor | None, shown: Tensor) -> Tensor:
        own = torch.eye(len(x), dtype=torch.bool, device=x.device)
        if seen is None:
            context = x
            visible = torch.ones_like(own).tril() & (shown | own)
        else:
            context = torch.cat([seen, x])
            visible = torch.cat([shown.expand(len(x), -1), own], 1)
        keys, values = (self.linear(params, part, context) for part in ("key", "value"))
        fit = self.linear(params, "query", x) @ keys.T / math.sqrt(self.keys)
        weights = torch.where(visible, fit, -torch.inf).softmax(-1)
        return torch.cat([x, weights @ values], -1)


def layers(inputs: int, length: int, filters: int, first_dilation: int) -> list[Layer]:
    """The layers for few-shot classification: attention and dilated convolutions in turn.

    `Att(64, 32), TC(T, D), Att(256, 128), TC(T, D), Att(512, 256)`, where TC(T, D) are
    ceil(log2 T) dense blocks of D filters and doubling dilation. Source: section 5.1.
    """
    found: list[Layer] = []

    def width() -> int:
        return found[-1].inputs + found[-1].added if found else inputs

    def attend(keys: int, values: int) -> None:
        found.append(Attention(name=f"{len(found)}", inputs=width(), keys=keys, values=values))

    def convolve() -> None:
        for i in range(math.ceil(math.log2(length))):
            rate = first_dilation * 2**i
            found.append(Dense(name=f"{len(found)}", inputs=width(), rate=rate, filters=filters))

    attend(64, 32)
    convolve()
    attend(256, 128)
    convolve()
    attend(512, 256)
    return found


@dataclass(frozen=True)
class Activations:
    """What each layer was given at the support positions, and which of these are shown."""

    inputs: list[Tensor]
    shown: Tensor


@dataclass(frozen=True, kw_only=True)
class CausalReader(Reader):
    """The sequence of examples with their labels, then one query with a label of zeros.

    A position sees only earlier ones. So the support set has the same activations before every
    query, and they are computed once.
    """

    features: int
    ways: int
    length: int
    """The longest sequence that the convolutions span, T."""
    filters: int
    first_dilation: int

    @property
    def layers(self) -> list[Layer]:
        """In order."""
        inputs = self.features + self.ways
        return layers(inputs, self.length, self.filters, self.first_dilation)

    def init(self, generator: Generator) -> dict[str, Tensor]:
        last = self.layers[-1]
        sizes = {f"{la.name}.{part}": s for la in self.layers for part, s in la.sizes.items()}
        sizes["output"] = (last.inputs + last.added, self.ways)
        return fresh(sizes, generator)

    def read(self, params: Tensors, support: Examples, gradient: Gradient) -> Activations:
        x = torch.cat([support.x, one_hot(support.y, self.ways, support.x)], -1)
        shown = support.shown.unsqueeze(-1)
        inputs = []
        for layer in self.layers:
            x = x * shown  # what is not shown is as what is before the sequence
            inputs.append(x)
            x = layer(params, x, None, support.shown)
        return Activations(inputs, support.shown)

    def answer(self, params: Tensors, memory: Activations, x: Tensor) -> Tensor:
        x = F.pad(x, (0, self.ways))
        for layer, seen in zip(self.layers, memory.inputs, strict=True):
            x = layer(params, x, seen, memory.shown)
        return linear(params, "output", x)
