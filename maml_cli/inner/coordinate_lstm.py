"""An LSTM that looks at each coordinate of the parameters by itself, with the same weights for all.

Source: Andrychowicz et al. 2016, section 2.1 and appendix A; Ravi & Larochelle 2017, section 3.3.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.init import trunc_normal_

from maml_cli.core.algorithm import Sections
from maml_cli.core.types import Tensors


def preprocessed(values: Tensor, p: float) -> Tensor:
    """Logarithm of the size, and sign, of each value, `(2, ...)`.

    `(ln|g| / p, sign g)` where `|g| >= exp(-p)`, else `(-1, exp(p) g)`. Source: Andrychowicz et al.
    2016, appendix A. The slope of the first entry is `1 / (p |g|)`, at most `exp(p) / p`.
    """
    size = values.abs().clamp(min=math.exp(-p)).log() / p
    return torch.stack([size, (math.exp(p) * values).clamp(-1, 1)])


@dataclass(frozen=True, kw_only=True)
class CoordinateLSTM:
    """Layers of LSTM cells over `(inputs, coordinates)`; each coordinate has its own memory.

    Coordinates come last: each gate is then one block of memory, which torch computes faster.
    """

    inputs: int
    layers: int
    units: int
    forget_bias: float
    """Of every cell at the start, beside what `init` draws."""

    def init(self, generator: Generator, bound: float | None = None) -> dict[str, Tensor]:
        """Fresh weights: normal with deviation `1 / sqrt(inputs + units)`, cut at two deviations.

        So are the biases, as in Sonnet's LSTM; with `bound` all are uniform in +-bound.
        """
        weights: dict[str, Tensor] = {}
        for layer in range(self.layers):
            inputs = self.units if layer else self.inputs
            shapes = {"weight": (4 * self.units, inputs + self.units), "bias": (4 * self.units,)}
            for name, shape in shapes.items():
                drawn = torch.empty(shape)
                if bound is None:
                    std = (inputs + self.units) ** -0.5
                    trunc_normal_(drawn, std=std, a=-2 * std, b=2 * std, generator=generator)
                else:
                    drawn.uniform_(-bound, bound, generator=generator)
                weights[f"lstm.{layer}.{name}"] = drawn
        return weights

    def memory(self, row: Tensor) -> Sections:
        """The memory of as many coordinates as `row` has, `(units, coordinates)`: zeros."""
        zeros = row.new_zeros(self.units, len(row))
        names = [f"lstm.{layer}" for layer in range(self.layers)]
        return {"hidden": dict.fromkeys(names, zeros), "cell": dict.fromkeys(names, zeros)}

    def step(self, weights: Tensors, memory: Sections, x: Tensor) -> tuple[Tensor, Sections]:
        """The last layer's outputs `(units, coordinates)` for inputs x, and the memory."""
        hidden, cell = {}, {}
        for name in memory["hidden"]:
            seen = torch.cat([x, memory["hidden"][name]])
            bias = weights[f"{name}.bias"].unsqueeze(-1)
            gates = torch.addmm(bias, weights[f"{name}.weight"], seen)
            enter, candidate, forget, leave = gates.chunk(4)
            kept = (forget + self.forget_bias).sigmoid() * memory["cell"][name]
            cell[name] = kept + enter.sigmoid() * candidate.tanh()
            x = hidden[name] = leave.sigmoid() * cell[name].tanh()
        return x, {"hidden": hidden, "cell": cell}
