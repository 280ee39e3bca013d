"""The meta-learner LSTM: descent whose rate and weight decay are gates (Ravi & Larochelle 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from maml_cli.core.algorithm import Sections
from maml_cli.core.types import Tensors
from maml_cli.inner.coordinate_lstm import CoordinateLSTM, preprocessed
from maml_cli.inner.rows import flattened, unflattened
from maml_cli.inner.update_rules import InnerStep

P = 10.0
"""Of the preprocessing of loss and gradient."""
BOUND = 0.01
"""All weights start uniform within it."""
BIASES = {"forget": (4.0, 5.0), "input": (-5.0, -4.0)}
"""The biases of the gates start uniform between these, as in the official code."""

Feedback = Literal["preactivation", "gate"]


@dataclass(frozen=True, kw_only=True)
class GatedDescent:
    """`phi <- f phi - i g` with gates f and i of each coordinate (section 3.2, equations 2 to 5).

    An LSTM reads loss and gradient, both preprocessed; a gate is the sigmoid of a linear map of the
    LSTM's output, the coordinate and what the gate was before.
    """

    units: int
    divide: bool
    """Whether the gradient of the mean loss is divided by the number of examples once more."""
    feedback: Feedback
    """What a gate sees of its last value: that before the sigmoid, or after."""

    @property
    def _lstm(self) -> CoordinateLSTM:
        return CoordinateLSTM(inputs=4, layers=1, units=self.units, forget_bias=0.0)

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        weights = self._lstm.init(generator, BOUND)
        for gate, ends in BIASES.items():
            weight = torch.empty(self.units + 2)
            weights[f"{gate}.weight"] = weight.uniform_(-BOUND, BOUND, generator=generator)
            weights[f"{gate}.bias"] = torch.empty(()).uniform_(*ends, generator=generator)
        return weights

    def memory(self, phi: Tensors) -> Sections:
        """Of the LSTM, the last gates, and the mean of every gate in each tensor, step by step."""
        row = flattened(phi, list(phi))
        last = {gate: torch.zeros_like(row) for gate in BIASES}
        seen = {gate: row.new_zeros(0, len(phi)) for gate in BIASES}
        return {**self._lstm.memory(row), "last": last, "seen": seen}

    def step(
        self, learned: Tensors, memory: Sections, phi: Tensors, gradient: Tensors, at: InnerStep
    ) -> tuple[dict[str, Tensor], Sections]:
        names = list(phi)
        c, g = flattened(phi, names), flattened(gradient, names)
        if self.divide:
            g = g / at.examples
        loss = preprocessed(at.loss, P).unsqueeze(-1).expand(2, len(c))
        own = {section: memory[section] for section in ("hidden", "cell")}
        h, own = self._lstm.step(learned, own, torch.cat([loss, preprocessed(g, P)]))
        gates, last, seen = {}, {}, {}
        for gate, before in memory["last"].items():
            of_h, of_c, of_before = torch.split(learned[f"{gate}.weight"], [self.units, 1, 1])
            preactivation = of_h @ h + of_c * c + of_before * before + learned[f"{gate}.bias"]
            gates[gate] = preactivation.sigmoid()
            last[gate] = preactivation if self.feedback == "preactivation" else gates[gate]
            means = _means(gates[gate], phi, names)
            seen[gate] = torch.cat([memory["seen"][gate], means.unsqueeze(0)])
        moved = gates["forget"] * c - gates["input"] * g
        return unflattened(moved, phi, names), {**own, "last": last, "seen": seen}

    def learned_rates(self, learned: Tensors) -> dict[str, list[float]]:
        """There are none that hold for every task: gates depend on loss and gradient."""
        return {}


def _means(row: Tensor, phi: Tensors, names: Sequence[str]) -> Tensor:
    """The mean over the coordinates of each tensor, `(tensors,)`, as a constant."""
    parts = unflattened(row.detach(), phi, names)
    return torch.stack([parts[name].mean() for name in names])
