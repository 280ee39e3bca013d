"""A learned optimiser as the update rule of the inner loop (Andrychowicz et al. 2016).

A small LSTM, the same for every coordinate of every adapted tensor, turns gradients into changes.
Its weights are meta-learned together with the start of the network.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.core.network import Part
from maml_cli.core.schedules import constant
from maml_cli.core.settings import STRICT, AlgorithmDefaults
from maml_cli.inner.checkpointing import keep_graph, recompute
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.outer_loss import InnerLoopPhase, last_step

UNITS = 20
P = 10
"""Gradients below exp(-P) are too small for their logarithm to be used."""


def preprocessed(gradient):
    """Size and sign of each gradient as two constants, `(..., 2)` (section 3 and appendix A).

    `(ln|g| / p, sign g)` where `|g| >= exp(-p)`, else `(-1, exp(p) g)`.
    """
    g = gradient.detach()
    large = g.abs() >= math.exp(-P)
    size = torch.where(large, g.abs().clamp(min=math.exp(-P)).log() / P, -1.0)
    return torch.stack([size, torch.where(large, g.sign(), math.exp(P) * g)], -1)


@dataclass(frozen=True, kw_only=True)
class LSTMRule:
    """`phi <- phi + scale * m`, where m is what the LSTM makes of the gradients so far."""

    scale: float

    def init(self, phi, generator):
        bound = UNITS**-0.5
        shapes = {
            "of_input": (2, 4 * UNITS),
            "of_hidden": (UNITS, 4 * UNITS),
            "gates": (4 * UNITS,),
            "output": (UNITS, 1),
            "output_bias": (1,),
        }
        return {
            name: torch.empty(shape).uniform_(-bound, bound, generator=generator)
            for name, shape in shapes.items()
        }

    def memory(self, phi):
        zeros = {n: p.new_zeros(p.numel(), UNITS) for n, p in phi.items()}
        return {"hidden": zeros, "cell": dict(zeros)}

    def step(self, learned, memory, phi, gradient, at):
        new, hidden, cell = {}, {}, {}
        for n, p in phi.items():
            hidden[n], cell[n] = self._lstm(
                learned,
                preprocessed(gradient[n].reshape(-1)),
                memory["hidden"][n],
                memory["cell"][n],
            )
            move = hidden[n] @ learned["output"] + learned["output_bias"]
            new[n] = p + self.scale * move.reshape(p.shape)
        return new, {"hidden": hidden, "cell": cell}

    def _lstm(self, w, x, hidden, cell):
        """Hidden and cell state after inputs `x`, `(coordinates, 2)`."""
        gates = x @ w["of_input"] + hidden @ w["of_hidden"] + w["gates"]
        enter, forget, leave, candidate = gates.split(UNITS, -1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        return leave.sigmoid() * cell.tanh(), cell

    def learned_rates(self, learned):
        return {}  # its weights are no rates


@settings(frozen=True, kw_only=True, config=STRICT)
class LearnedOptimizer(AlgorithmDefaults):
    """The settings."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="LSTM steps per episode")]
    scale: Annotated[float, Field(gt=0, le=10, description="factor of the LSTM's output")]
    adapts: Annotated[list[Part], Field(min_length=1, description="parts that inner steps change")]
    recompute: Annotated[bool, Field(description="less memory, slower")]

    def check(self, experiment):
        problems = experiment.run.check_train_ways(self.name)
        for key in ("train", "eval"):
            if getattr(experiment, key).bn_stats == "running":
                problems.append(
                    f"{key}.bn_stats=running: algo={self.name} gathers no running statistics: "
                    f"set {key}.bn_stats=batch or support"
                )
        return problems

    def build(self, network, source, train):
        inner = InnerLoop(
            network=network,
            objective=source.objective,
            adapts=tuple(self.adapts),
            rule=LSTMRule(scale=self.scale),
            checkpointing=recompute if self.recompute else keep_graph,
        )
        return GradientLearner(
            steps=self.inner_steps,
            outputs=source.output_size,
            inner=inner,
            schedule=partial(self._phase, train.bn_stats),
            outer_lr_schedule=constant(train.outer_lr),
        )

    def _phase(self, bn_stats, progress):
        return InnerLoopPhase(order=1, step_weights=last_step(self.inner_steps), bn_stats=bn_stats)
