"""Fast weights that small networks generate from loss gradients.

Source: Munkhdalai & Yu 2017, "Meta networks", algorithm 1 and section 3; the authors' code.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.nn.init import xavier_uniform_

from maml_cli.core.layered import Layer, LayeredNetwork, biased
from maml_cli.core.norms import BatchStats
from maml_cli.core.types import Tensors
from maml_cli.inner.coordinate_lstm import CoordinateLSTM, preprocessed
from maml_cli.readers.reader import Gradient, Reader
from maml_cli.readers.sequences import Examples

CHUNKS = 5
"""Parts of the support set, from each of which the representation's loss has a gradient."""
P = 7.0
"""Of what generators see of a gradient (`inner/coordinate_lstm.py`); section 3.1."""
UNITS = 20
"""Of the generators' layers."""
LSTM = CoordinateLSTM(inputs=2, layers=1, units=UNITS, forget_bias=0.0)
START = 0.01
"""Deviation of the generators' first output weights, so that fast weights start small."""
KINDS = {4: "convolution", 2: "linear"}
"""Generators are shared by all weights of as many dimensions."""


class FastWeights(NamedTuple):
    """What is made of a support set."""

    representation: Tensors
    """Q*, of the task, as the slow weights Q."""
    base: Tensors
    """W*, of each example, `(examples, ...)`."""
    keys: Tensor
    """`(examples, features)`."""


@dataclass(frozen=True, kw_only=True)
class Generators(Reader):
    """Two networks of one form, the base learner b(W) and the representation u(Q), and generators.

    An LSTM over the chunks of the support set makes Q* of the gradients of u's loss; an MLP makes
    W*_i of the gradient of b's loss for example i. Both look at one coordinate at a time. A query
    attends to the examples by the cosine of its representation with theirs, a = softmax(cos), and
    is answered by b with the slow weights W and its own fast weights `W* = sum_i a_i W*_i`. A layer
    is `relu(W x) + relu(W* x)`.
    """

    network: LayeredNetwork
    ways: int

    def init(self, generator: Generator) -> dict[str, Tensor]:
        params: dict[str, Tensor] = {}
        for part in ("base", "representation"):
            slow = self.network.init(generator) | self.network.init_head(self.ways, generator)
            params |= {f"{part}.{name}": weight for name, weight in slow.items()}
        for kind in sorted({KINDS[len(layer.shape)] for layer in self.network.layers} | {"linear"}):
            lstm = LSTM.init(generator).items()
            params |= {f"task.{kind}.{name}": weight for name, weight in lstm}
            for name, (inputs, outputs) in {
                f"task.{kind}.output": (UNITS, 1),
                f"example.{kind}.0": (2, UNITS),
                f"example.{kind}.1": (UNITS, UNITS),
                f"example.{kind}.output": (UNITS, 1),
            }.items():
                weight = torch.empty(outputs, inputs)
                if outputs == 1:
                    weight.normal_(std=START, generator=generator)
                else:
                    xavier_uniform_(weight, generator=generator)
                params |= {f"{name}.weight": weight, f"{name}.bias": torch.zeros(outputs)}
        return params

    def read(self, params: Tensors, support: Examples, gradient: Gradient) -> FastWeights:
        def of_loss(slow: Tensors, x: Tensor, y: Tensor) -> Tensors:
            def loss(slow: Tensors) -> tuple[Tensor, Tensors]:
                return F.cross_entropy(self.network.outputs(slow, x, BatchStats()), y), {}

            found = gradient(loss, slow).gradient
            return {n: g for n, g in found.items() if n.endswith(".weight")}

        slow, base = _part(params, "representation"), _part(params, "base")
        chunks = [torch.tensor_split(t, min(CHUNKS, len(t))) for t in (support.x, support.y)]
        of_task = [of_loss(slow, x, y) for x, y in zip(*chunks, strict=True)]
        singles = [torch.split(t, 1) for t in (support.x, support.y)]
        of_each = [of_loss(base, x, y) for x, y in zip(*singles, strict=True)]
        fast = {n: self._of_task(params, _stacked(of_task, n)) for n in of_task[0]}
        return FastWeights(
            representation=fast,
            base={n: self._of_example(params, _stacked(of_each, n)) for n in of_each[0]},
            keys=self._keys(slow, fast, support.x),
        )

    def answer(self, params: Tensors, memory: FastWeights, x: Tensor) -> Tensor:
        keys = self._keys(_part(params, "representation"), memory.representation, x)
        attention = (F.normalize(keys, dim=1) @ F.normalize(memory.keys, dim=1).T).softmax(-1)
        base = _part(params, "base")

        def alone(x: Tensor, attention: Tensor) -> Tensor:
            fast = {n: torch.tensordot(attention, w, 1) for n, w in memory.base.items()}
            return self.augmented(base, fast, x.unsqueeze(0)).squeeze(0)

        return torch.func.vmap(alone)(x, attention)

    def augmented(self, slow: Tensors, fast: Tensors, x: Tensor) -> Tensor:
        """Outputs of a network with slow and fast weights."""

        def unit(layer: Layer, x: Tensor) -> Tensor:
            return F.relu(_slow(slow, layer, x)) + F.relu(_fast(fast, layer, x))

        features = self.network.through(x, unit)
        quick = F.linear(features.flatten(1), fast["head.weight"])
        return self.network.head(slow, features) + quick

    def _keys(self, slow: Tensors, fast: Tensors, x: Tensor) -> Tensor:
        """The augmented features, of which the last layer has no ReLU."""
        *_, last = self.network.layers

        def unit(layer: Layer, x: Tensor) -> Tensor:
            both = _slow(slow, layer, x), _fast(fast, layer, x)
            return sum(
                both if layer == last else map(F.relu, both), start=torch.zeros_like(both[0])
            )

        return self.network.through(x, unit).flatten(1)

    def _of_task(self, params: Tensors, gradients: Tensor) -> Tensor:
        """Q* of one weight from its gradients `(chunks, ...)`."""
        name = f"task.{KINDS[gradients.ndim - 1]}"
        rows = gradients.flatten(1)
        weights, memory = _part(params, name), LSTM.memory(rows[0])
        for row in rows:
            hidden, memory = LSTM.step(weights, memory, preprocessed(row, P))
        return _of_coordinates(params, f"{name}.output", hidden).view(gradients.shape[1:])

    def _of_example(self, params: Tensors, gradients: Tensor) -> Tensor:
        """W*_i of one weight from its gradients `(examples, ...)`."""
        name = f"example.{KINDS[gradients.ndim - 1]}"
        units = preprocessed(gradients, P).flatten(1)
        for layer in ("0", "1"):
            units = F.relu(_of_coordinates(params, f"{name}.{layer}", units))
        return _of_coordinates(params, f"{name}.output", units).view(gradients.shape)


def _of_coordinates(params: Tensors, name: str, x: Tensor) -> Tensor:
    """`W x + b` of the map with this name, for x `(inputs, coordinates)`, as the LSTM has them."""
    return torch.addmm(params[f"{name}.bias"].unsqueeze(-1), params[f"{name}.weight"], x)


def _part(params: Tensors, name: str) -> dict[str, Tensor]:
    """The slow weights of one of the networks."""
    start = f"{name}."
    return {n.removeprefix(start): t for n, t in params.items() if n.startswith(start)}


def _stacked(tensors: list[Tensors], name: str) -> Tensor:
    return torch.stack([own[name] for own in tensors])


def _slow(slow: Tensors, layer: Layer, x: Tensor) -> Tensor:
    return biased(layer.apply(x, slow[f"{layer.name}.weight"]), slow, layer.name)


def _fast(fast: Tensors, layer: Layer, x: Tensor) -> Tensor:
    return layer.apply(x, fast[f"{layer.name}.weight"])
