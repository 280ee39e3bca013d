"""Several networks as one: the particles of a distribution over networks."""

import torch
from torch import Generator, Tensor

from maml_cli.core.network import Network, Part
from maml_cli.core.norms import Norm
from maml_cli.core.types import Tensors
from maml_cli.inner.svgd import NOISE_PRECISION, WEIGHT_PRECISION

LOG_NOISE_PRECISION = 4.6
"""At the start: noise of deviation 0.1, as in the published code."""


class Particles(Network):
    """`count` networks, each with its own copy of the parts `own`; they share the other parts.

    Own parameters have the particles as their first dimension, and so do the logarithms of
    precisions (`inner/svgd.py`). Outputs are `(batch, count, outputs)`; with `noise` the last
    output is the logarithm of the noise's precision.
    """

    def __init__(self, network: Network, count: int, own: tuple[Part, ...], *, noise: bool) -> None:
        self._network, self._count, self._own, self._noise = network, count, own, noise
        self.input_shape, self.norms = network.input_shape, network.norms
        self.remarks, self.batches = network.remarks, network.batches
        self.convolutional = network.convolutional
        body = network.init(Generator().manual_seed(0))
        self._bodies = any(network.part(name) in own for name in body)
        shape = network.feature_shape
        self.feature_shape = (count, *shape) if self._bodies else shape

    def init(self, generator: Generator) -> dict[str, Tensor]:
        return self._copies([self._network.init(generator) for _ in range(self._count)])

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        heads = [self._network.init_head(outputs, generator) for _ in range(self._count)]
        precisions = {WEIGHT_PRECISION: torch.zeros(self._count)}
        if self._noise:
            precisions[NOISE_PRECISION] = torch.full((self._count,), LOG_NOISE_PRECISION)
        return self._copies(heads) | precisions

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        if not self._bodies:
            return self._network.features(params, x, norm)
        body = {n: p for n, p in params.items() if self.part(n) != "head"}
        own = {n: p for n, p in body.items() if self.part(n) in self._own}
        shared = {n: p for n, p in body.items() if n not in own}

        def features(own: Tensors) -> Tensor:
            return self._network.features({**shared, **own}, x, norm)

        if self.convolutional:  # fused blocks forbid vmap
            each = [{n: p[i] for n, p in own.items()} for i in range(self._count)]
            return torch.stack([features(one) for one in each], 1)
        return torch.func.vmap(features, out_dims=1)(own)

    def head(self, params: Tensors, features: Tensor) -> Tensor:
        heads = {n: p for n, p in params.items() if self.part(n) == "head" and not _precision(n)}
        in_dims = (0, 1 if self._bodies else None)
        outputs = torch.func.vmap(self._network.head, in_dims, out_dims=1)(heads, features)
        if not self._noise:
            return outputs
        precision = params[NOISE_PRECISION].view(1, -1, 1).expand(len(outputs), -1, 1)
        return torch.cat([outputs, precision], -1)

    def part(self, name: str) -> Part:
        return "head" if _precision(name) else self._network.part(name)

    def _copies(self, each: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Own parameters of all particles; of shared ones those of the first."""
        return {
            n: torch.stack([one[n] for one in each]) if self.part(n) in self._own else p
            for n, p in each[0].items()
        }


def _precision(name: str) -> bool:
    return name in (WEIGHT_PRECISION, NOISE_PRECISION)
