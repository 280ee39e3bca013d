"""Context parameters: a short vector is all that a task adapts (CAVIA).

Source: Zintgraf et al. 2019, "Fast context adaptation via meta-learning".
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maml_cli.core.errors import UsageError
from maml_cli.core.network import Network
from maml_cli.core.types import Tensors
from maml_cli.inner.views import View

CONTEXT = "context/values"
"""The vector, which is adapted and not meta-learned."""
_WEIGHT, _BIAS = "modulation/weight", "modulation/bias"


def context_view(network: Network, contexts: int, film: int | None) -> View:
    """A context of so many numbers at batch norm number `film`.

    Without a number it is the last but one, or in a network without batch norms the first layer.
    Raises UsageError where there is no such batch norm, or the first layer has no bias.
    """
    norms = list(network.norms)
    if film is None and norms:
        film = max(-2, -len(norms))
    if film is not None:
        if not -len(norms) <= film < len(norms):
            last = len(norms) - 1
            there = f"only {len(norms)} batch norms: set algo.film to {-len(norms)} to {last}, or"
            raise UsageError(
                f"algo.film={film}: the network has {there if norms else 'no batch norm: set'} "
                "algo.film=null"
            )
        return Film(contexts=contexts, norm=norms[film], features=network.norms[norms[film]])
    body = network.init(Generator().manual_seed(0))
    layer = next(iter(body)).rpartition(".")[0] if body else "head"
    if body and f"{layer}.bias" not in body:
        raise UsageError(
            f"algo.contexts={contexts}: the network has no batch norm, and its first layer, "
            f"{layer}, no bias, so that a context cannot enter: choose another backbone"
        )
    return InputContext(contexts=contexts, layer=layer)


@dataclass(frozen=True, kw_only=True)
class Context(View):
    """A vector that starts at zero for each task (section 3.1) and enters the network somewhere."""

    contexts: int

    def start(self, params: Tensors) -> dict[str, Tensor]:
        return {**params, CONTEXT: params[_WEIGHT].new_zeros(self.contexts)}


@dataclass(frozen=True, kw_only=True)
class InputContext(Context):
    """The first layer has the context as further inputs: its bias becomes `b + C context`.

    C is meta-learned, `(outputs, contexts)`. Source: section 3.2, equation 8.
    """

    layer: str

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        """C starts as torch's layers do, uniform in +-1/sqrt(inputs): from 0 nothing is learned."""
        weight = params[f"{self.layer}.weight"]
        bound = (weight[0].numel() + self.contexts) ** -0.5
        c = torch.empty(len(weight), self.contexts).uniform_(-bound, bound, generator=generator)
        return {**params, _WEIGHT: c}

    def at(self, params: Tensors, step: int) -> Tensors:
        seen = dict(params)
        shift, bias = seen.pop(_WEIGHT) @ seen.pop(CONTEXT), f"{self.layer}.bias"
        return {**seen, bias: seen[bias] + shift}


@dataclass(frozen=True, kw_only=True)
class Film(Context):
    """A batch norm is modulated by the context: its outputs are multiplied by g and shifted by b.

    `(g, b) = W context + w`. g starts near 1 and b near 0; the weights W are uniform in
    +-1/sqrt(contexts). Source: section 3.2, equations 9 and 10 (FiLM).
    """

    norm: str
    features: int

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        bound, shape = self.contexts**-0.5, (2 * self.features, self.contexts)
        return {
            **params,
            _WEIGHT: torch.empty(shape).uniform_(-bound, bound, generator=generator),
            _BIAS: torch.cat([torch.ones(self.features), torch.zeros(self.features)]),
        }

    def at(self, params: Tensors, step: int) -> Tensors:
        seen = dict(params)
        modulation = seen.pop(_WEIGHT) @ seen.pop(CONTEXT) + seen.pop(_BIAS)
        gain, shift = torch.split(modulation, self.features)
        own_gain, own_bias = (seen.get(f"{self.norm}.{kind}") for kind in ("weight", "bias"))
        return {
            **seen,
            f"{self.norm}.weight": gain if own_gain is None else gain * own_gain,
            f"{self.norm}.bias": shift if own_bias is None else shift + gain * own_bias,
        }
