"""Full context embeddings: an example is embedded in the light of the whole support set.

Source: Vinyals et al. 2016, appendix A. What it leaves open is in docs/disagreements.md.
"""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.types import Tensors

FORWARD, BACKWARD, ATTENTION = "forward", "backward", "attention"
GATES = 4


class Cell(NamedTuple):
    """The state of an LSTM: its output and its cell, each `(batch, size)`."""

    output: Tensor
    cell: Tensor


def lstm(params: Tensors, name: str, x: Tensor, before: Tensor, cell: Tensor) -> Cell:
    """One step of an LSTM: `c' = f c + i tanh(j)` and `h' = o tanh(c')`.

    `i, f, o` are sigmoids; with j they are `W [x, before] + b`, one after the other. `before` is
    the output of the step before, and what else comes in. Source: Hochreiter & Schmidhuber 1997,
    with forget gates. In matrix products, for which torch has batching rules, unlike its own LSTM.
    """
    inputs = torch.cat([x, before], dim=-1)
    numbers = F.linear(inputs, params[f"{name}.weight"], params[f"{name}.bias"])
    i, f, o, j = numbers.chunk(GATES, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * j.tanh()
    return Cell(o.sigmoid() * cell.tanh(), cell)


@dataclass(frozen=True)
class FullContext:
    """The support set through an LSTM in both directions, queries through an LSTM that reads it.

    All have as many hidden numbers as there are features. The weights start at zero: training
    begins with the embeddings as they are.
    """

    steps: int
    """How often a query reads the support set, K."""

    def init(self, feature_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """The weights of the three LSTMs: zeros."""
        size = prod(feature_shape)
        inputs = {FORWARD: 2 * size, BACKWARD: 2 * size, ATTENTION: 3 * size}
        return {
            **{f"{n}.weight": torch.zeros(GATES * size, width) for n, width in inputs.items()},
            **{f"{n}.bias": torch.zeros(GATES * size) for n in inputs},
        }

    def support(self, params: Tensors, points: Tensor) -> Tensor:
        """`g_i = g'_i + forward h_i + backward h_i`, for g' `(examples, features)` in order.

        Source: appendix A.2.
        """
        forward = _outputs(params, FORWARD, points)
        backward = _outputs(params, BACKWARD, points.flip(0)).flip(0)
        return points + forward + backward

    def queries(self, params: Tensors, queries: Tensor, points: Tensor) -> Tensor:
        """`h_K` of each query f' `(queries, features)`, for the support set g.

        `r_k = sum_i softmax_i(h_k . g_i) g_i`, then `h_(k+1) = f' + LSTM(f', [h_k, r_k])`, from
        `h_0 = 0`, for which r_0 is the mean of g. Source: appendix A.1, equations 3 to 6.
        """
        hidden = cell = torch.zeros_like(queries)
        for _ in range(self.steps):
            read = (hidden @ points.T).softmax(-1) @ points
            output, cell = lstm(params, ATTENTION, queries, torch.cat([hidden, read], dim=-1), cell)
            hidden = output + queries
        return hidden


def _outputs(params: Tensors, name: str, sequence: Tensor) -> Tensor:
    """The outputs of an LSTM after each element of a sequence `(length, size)`."""
    state = Cell(*(torch.zeros_like(sequence[:1]) for _ in range(2)))
    outputs = []
    for element in sequence:
        state = lstm(params, name, element.unsqueeze(0), state.output, state.cell)
        outputs.append(state.output)
    return torch.cat(outputs)
