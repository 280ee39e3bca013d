"""An update rule that is an LSTM (Andrychowicz et al. 2016, section 2)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.init import trunc_normal_

from maml_cli.core.algorithm import Sections
from maml_cli.core.types import Tensors
from maml_cli.inner.coordinate_lstm import CoordinateLSTM, preprocessed
from maml_cli.inner.rows import flattened, unflattened
from maml_cli.inner.update_rules import InnerStep

KERNEL = 4
"""Dimensions of the kernel of a convolution."""


@dataclass(frozen=True, kw_only=True)
class LearnedOptimizer:
    """`phi <- phi + scale * m`, where m is what the LSTM says of each coordinate's gradients.

    One LSTM for all coordinates, or one for the kernels of convolutions and one for all others.
    With no layers, m is linear in the gradient.
    """

    layers: int
    units: int
    preprocessing: float | None
    """p of `preprocessed`; None: the LSTM sees the gradient itself."""
    scale: float
    by_kind: bool

    @property
    def _lstm(self) -> CoordinateLSTM:
        inputs = 1 if self.preprocessing is None else 2
        return CoordinateLSTM(inputs=inputs, layers=self.layers, units=self.units, forget_bias=1.0)

    def _groups(self, phi: Tensors) -> dict[str, list[str]]:
        """The names of the tensors that share an LSTM."""
        groups: dict[str, list[str]] = {}
        for name, tensor in phi.items():
            kernel = self.by_kind and tensor.dim() == KERNEL
            groups.setdefault("kernels" if kernel else "all", []).append(name)
        return groups

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        """Weights, named `GROUP.NAME`."""
        return {
            f"{group}.{name}": tensor
            for group in self._groups(phi)
            for name, tensor in self._init_one(generator).items()
        }

    def _init_one(self, generator: Generator) -> dict[str, Tensor]:
        width = self.units if self.layers else self._lstm.inputs
        output, std = torch.empty(width), width**-0.5
        trunc_normal_(output, std=std, a=-2 * std, b=2 * std, generator=generator)
        return {
            **self._lstm.init(generator),
            "output.weight": output,
            "output.bias": torch.zeros(()),
        }

    def memory(self, phi: Tensors) -> Sections:
        memory: Sections = {"hidden": {}, "cell": {}}
        for group, names in self._groups(phi).items():
            for section, tensors in self._lstm.memory(flattened(phi, names)).items():
                memory[section] |= {f"{group}.{name}": t for name, t in tensors.items()}
        return memory

    def step(
        self, learned: Tensors, memory: Sections, phi: Tensors, gradient: Tensors, at: InnerStep
    ) -> tuple[dict[str, Tensor], Sections]:
        moved: dict[str, Tensor] = {}
        after: Sections = {"hidden": {}, "cell": {}}
        for group, names in self._groups(phi).items():
            weights = _of(group, learned)
            own = {section: _of(group, tensors) for section, tensors in memory.items()}
            hidden, own = self._lstm.step(weights, own, self._inputs(flattened(gradient, names)))
            move = weights["output.weight"] @ hidden + weights["output.bias"]
            for name, change in unflattened(move, phi, names).items():
                moved[name] = phi[name] + self.scale * change
            for section, tensors in own.items():
                after[section] |= {f"{group}.{name}": t for name, t in tensors.items()}
        return {name: moved[name] for name in phi}, after

    def _inputs(self, gradient: Tensor) -> Tensor:
        if self.preprocessing is None:
            return gradient.unsqueeze(0)
        return preprocessed(gradient, self.preprocessing)

    def learned_rates(self, learned: Tensors) -> dict[str, list[float]]:
        """There are none: the weights of an LSTM are no rates."""
        return {}


def _of(group: str, tensors: Tensors) -> dict[str, Tensor]:
    return {n.removeprefix(f"{group}."): t for n, t in tensors.items() if n.startswith(f"{group}.")}
