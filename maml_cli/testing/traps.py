"""Algorithms whose work a wrong engine gets wrong without a word.

Each is the same small learner, one linear layer on the inputs, with one property more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.core import noise
from maml_cli.core.algorithm import (
    LOG,
    Algorithm,
    Merge,
    MetaParameters,
    Ops,
    Phase,
    Sections,
)
from maml_cli.core.network import Network
from maml_cli.core.objective import Objective
from maml_cli.core.types import Episode, Evaluation, Progress


class Plain(Algorithm):
    """A linear layer, trained on the queries; it never adapts."""

    def __init__(self, network: Network, source: Any) -> None:
        self.objective: Objective = source.objective
        self.size = 1
        for length in source.input_shape:
            self.size *= length
        self.outputs = source.output_size

    def init(self, seed: int) -> MetaParameters:
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(self.outputs, self.size, generator=generator)
        return MetaParameters(theta={"layer": {"weight": weight}}, state=self.init_state())

    def init_state(self) -> Sections:
        """What the state begins with."""
        return {}

    def outer_lr(self, progress: Progress) -> float:
        return 0.001

    def answer(self, params: MetaParameters, x: Tensor) -> Tensor:
        """Outputs `(examples, outputs)`."""
        return F.linear(x.flatten(1), params.theta["layer"]["weight"])

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Any, ops: Ops
    ) -> tuple[Tensor, Sections]:
        outputs = self.answer(params, episode.query_x)
        loss = self.objective.loss(outputs, episode.query_y)
        return loss, {LOG: self.objective.log(outputs, episode.query_y)}

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        outputs = self.answer(params, episode.query_x).detach()
        return outputs.expand(len(evaluation.after), 1, -1, -1)


@dataclass(frozen=True, kw_only=True)
class Annealed(Phase):
    """A penalty's weight, which grows with the epoch."""

    penalty: float


class Progressing(Plain):
    """Its loss has a term that grows with the epoch, and one that grows with the iteration."""

    def phase(self, progress: Progress) -> Phase:
        return Annealed(penalty=progress.epoch / progress.epochs)

    def inputs(self, progress: Progress) -> dict[str, float]:
        return {"warmth": progress.iteration / progress.iterations}

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Any, ops: Ops
    ) -> tuple[Tensor, Sections]:
        loss, outputs = super().loss(params, episode, phase, ops)
        weight = params.theta["layer"]["weight"]
        loss = loss + phase.penalty * weight.square().mean()
        return loss + params.inputs["warmth"] * weight.abs().mean(), outputs


class Counting(Plain):
    """Its state is no mean over tasks: one row per task, the last task's, and integer counters."""

    merges: ClassVar[Mapping[str, Merge]] = {"rows": "rows", "last": "last"}

    def init_state(self) -> Sections:
        return {
            "rows": {"sums": torch.zeros(3, dtype=torch.float64)},
            "last": {
                "key": torch.zeros(2, dtype=torch.int64),
                "examples": torch.zeros((), dtype=torch.int64),
            },
        }

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Any, ops: Ops
    ) -> tuple[Tensor, Sections]:
        loss, outputs = super().loss(params, episode, phase, ops)
        rows = {"sums": episode.support_x.double().sum()}
        examples = torch.ones_like(episode.key[0]) * len(episode.support_x)
        return loss, {**outputs, "rows": rows, "last": {"key": episode.key, "examples": examples}}

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        count = state["last"]["examples"] + outputs["last"]["examples"]
        last = {"key": outputs["last"]["key"], "examples": count}
        return {"rows": outputs["rows"], "last": last}


class Noisy(Plain):
    """Its loss has noise, which must be the same wherever the task is computed."""

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Any, ops: Ops
    ) -> tuple[Tensor, Sections]:
        drawn = noise.normal(episode.key, "loss", tuple(episode.query_x.shape))
        return super().loss(
            params,
            episode._replace(query_x=episode.query_x + drawn.to(episode.query_x.dtype)),
            phase,
            ops,
        )


class Sampling(Noisy):
    """Its predictions are five samples."""

    samples = 5

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        outputs = self.answer(params, episode.query_x).detach()
        drawn = noise.normal(episode.key, "samples", (self.samples, *outputs.shape))
        samples = outputs + drawn.to(outputs.dtype)
        return samples.expand(len(evaluation.after), -1, -1, -1)


TRAPS = {trap.__name__: trap for trap in (Plain, Progressing, Counting, Noisy, Sampling)}
