"""A meta-learned curvature: inner gradients are multiplied by matrices along each dimension.

Source: Park & Oliva 2019, "Meta-Curvature", section 3.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maml_cli.core.types import Tensors
from maml_cli.inner.update_rules import InnerStep


@dataclass(frozen=True)
class MetaCurvature:
    """`G <- M_o G M_i` for a linear layer, and with `M_f` over the places of a kernel.

    Of a gradient G `(outputs, inputs, places)`, M_o multiplies the outputs, M_i the inputs, M_f the
    places; a vector is multiplied by a vector. All start at the identity. Source: equation 12.
    """

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        """For each tensor NAME: `NAME.outputs`, `.inputs` and `.places`, or `NAME.each`."""
        learned: dict[str, Tensor] = {}
        for name, p in phi.items():
            if p.dim() < 2:
                learned[f"{name}.each"] = torch.ones_like(p)
                continue
            sizes = dict(zip(("outputs", "inputs", "places"), _shape(p), strict=False))
            learned |= {f"{name}.{along}": torch.eye(size) for along, size in sizes.items()}
        return learned

    def of(self, learned: Tensors, gradient: Tensors, at: InnerStep) -> dict[str, Tensor]:
        return {n: _curved(learned, n, g) for n, g in gradient.items()}

    def shown(self, learned: Tensors) -> dict[str, list[float]]:
        """Matrices are no rates."""
        return {}


def _curved(learned: Tensors, name: str, gradient: Tensor) -> Tensor:
    if gradient.dim() < 2:
        return learned[f"{name}.each"] * gradient
    g = learned[f"{name}.outputs"] @ gradient.flatten(1)
    g = g.reshape(_shape(gradient))
    if f"{name}.places" in learned:
        g = g @ learned[f"{name}.places"]
    g = torch.einsum("oi...,ij->oj...", g, learned[f"{name}.inputs"])
    return g.reshape(gradient.shape)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """`(outputs, inputs)`, or `(outputs, inputs, places)` with the places of a kernel in a row."""
    return tuple(tensor.flatten(2).shape) if tensor.dim() > 2 else tuple(tensor.shape)
