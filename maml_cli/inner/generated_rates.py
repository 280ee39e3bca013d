"""Inner rates and weight decay from a small network that sees weights and gradients (ALFA).

Source: Baik et al. 2020, "Meta-learning with adaptive hyperparameters", section 3.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maml_cli.core.algorithm import Sections
from maml_cli.core.types import Tensors
from maml_cli.inner.update_rules import InnerStep

DECAY = 5e-6
"""b0 at the start, of the official code."""


@dataclass(frozen=True, kw_only=True)
class GeneratedRates:
    """`phi <- (1 - b0 b) phi - a0 a g` for each of the L adapted tensors.

    `(a, b) = (1, 0) + f(z)`, where z are the means of the tensors and of their gradients, which
    count as constants, and f has 2L inputs, 2L ReLU units and 2L outputs. a0 starts at `rate`, b0
    at `DECAY`; both are meta-learned, for each tensor and step, as f is. Source: equations 4 to 6.
    """

    rate: float
    steps: int

    def init(self, phi: Tensors, generator: Generator) -> dict[str, Tensor]:
        """F starts as torch's layers do, uniform in +-1/sqrt(2L)."""
        width = 2 * len(phi)
        shapes = {
            "hidden.weight": (width, width),
            "hidden.bias": (width,),
            "output.weight": (width, width),
            "output.bias": (width,),
        }
        bound = width**-0.5
        network = {
            n: torch.empty(shape).uniform_(-bound, bound, generator=generator)
            for n, shape in shapes.items()
        }
        own = (self.steps, len(phi))
        return {"rate": torch.full(own, self.rate), "decay": torch.full(own, DECAY), **network}

    def memory(self, phi: Tensors) -> Sections:
        return {}

    def step(
        self, learned: Tensors, memory: Sections, phi: Tensors, gradient: Tensors, at: InnerStep
    ) -> tuple[dict[str, Tensor], Sections]:
        a, b = self._generated(learned, phi, gradient)
        row = min(at.number, self.steps - 1)
        rates, decays = learned["rate"][row] * a, learned["decay"][row] * b
        return {
            n: (1 - decay) * p - rate * gradient[n]
            for (n, p), rate, decay in zip(phi.items(), rates, decays, strict=True)
        }, memory

    def _generated(
        self, learned: Tensors, phi: Tensors, gradient: Tensors
    ) -> tuple[Tensor, Tensor]:
        means = [p.mean() for p in phi.values()] + [gradient[n].detach().mean() for n in phi]
        hidden = (learned["hidden.weight"] @ torch.stack(means) + learned["hidden.bias"]).relu()
        outputs = learned["output.weight"] @ hidden + learned["output.bias"]
        a, b = torch.split(outputs, len(phi))
        return 1 + a, b

    def learned_rates(self, learned: Tensors) -> dict[str, list[float]]:
        """There is none before a task is seen."""
        return {}
