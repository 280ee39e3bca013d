"""A meta-learned linear map after each layer, which shapes the inner steps (T-net).

Source: Lee & Choi 2018, "Gradient-based meta-learning with learned layerwise metric and subspace".
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maml_cli.core.network import Network
from maml_cli.core.types import Tensors
from maml_cli.inner.views import View, part_of

WARP = "warp/"


@dataclass(frozen=True, kw_only=True)
class Warp(View):
    """The network sees `T W` and `T b` of each layer, where inner steps change W and b alone.

    T is square over the layer's outputs, is meta-learned and starts at the identity. By the chain
    rule a step with gradient G of the seen weights changes them by `-alpha T T^T G`. T W and T b
    are those of a layer that T follows directly, before any batch norm. Source: Lee & Choi 2018,
    section 3.1.
    """

    network: Network

    def init(self, params: Tensors, generator: Generator) -> dict[str, Tensor]:
        layers = [n.removesuffix(".weight") for n, p in params.items() if self._warped(n, p)]
        maps = {f"{WARP}{layer}": torch.eye(len(params[f"{layer}.weight"])) for layer in layers}
        return {**params, **maps}

    def _warped(self, name: str, tensor: Tensor) -> bool:
        is_layer = part_of(name, self.network) in ("body", "head")
        return is_layer and name.endswith(".weight") and tensor.dim() > 1

    def at(self, params: Tensors, step: int) -> Tensors:
        seen = {n: p for n, p in params.items() if not n.startswith(WARP)}
        for name, t in params.items():
            if name.startswith(WARP):
                layer = name.removeprefix(WARP)
                for own in (f"{layer}.weight", f"{layer}.bias"):
                    if own in seen:
                        seen[own] = (t @ seen[own].reshape(len(t), -1)).reshape(seen[own].shape)
        return seen
