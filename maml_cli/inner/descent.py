"""The inner loop: gradient descent on the support set, from theta to phi, step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from maml_cli.core.batch_norm import GivenStats, Norm
from maml_cli.core.functional import detached
from maml_cli.core.objective import Objective
from maml_cli.core.types import Episode, Looks, Tensors
from maml_cli.engines.engine import Numerics
from maml_cli.inner.norm_rows import NormRows
from maml_cli.inner.queries import query_outputs
from maml_cli.inner.rates import Rates
from maml_cli.inner.running_stats import RunningStats

Forward = Callable[[Tensors, Tensor, Norm], Tensor]
"""A network as a pure function of parameters, inputs and what normalises: a backbone's `apply`."""


class Adapted(NamedTuple):
    """The network after some inner step."""

    params: Tensors
    """All its parameters, the adapted ones being phi."""
    support_stats: Tensors
    """Batch statistics of the support pass that led here."""


@dataclass(frozen=True, kw_only=True)
class Descent:
    """The parts of an inner loop that do not change during training."""

    forward: Forward
    objective: Objective
    rates: Rates
    norm_rows: NormRows
    running_stats: RunningStats
    adapts: Callable[[str], bool]
    """Which parameters the inner loop changes, by name."""

    def adapted(self, params: Tensors) -> dict[str, Tensor]:
        """Those of the network's parameters that the inner loop changes."""
        return {n: p for n, p in params.items() if self.adapts(n)}

    def step(
        self,
        params: Tensors,
        learned_rates: Tensors,
        episode: Episode,
        step: int,
        *,
        order: int,
        numerics: Numerics,
        norm: Norm,
    ) -> Adapted:
        """`phi <- phi - rate * grad L_support(phi)`, inner step number `step` (from 0).

        `order` 2 keeps the inner gradient differentiable, 1 makes it a constant; `norm` normalises
        the support pass. Source: Finn et al. 2017, equation 1.
        """
        fixed = params if order == 2 else detached(params)

        def support_loss(phi: Tensors) -> tuple[Tensor, Tensors]:
            network = self.norm_rows.at({**fixed, **phi}, step)
            outputs = self.forward(network, episode.support_x, norm)
            return self.objective.loss(outputs, episode.support_y), norm.collected

        gradient, stats = numerics.inner_gradient(support_loss, self.adapted(params), order == 2)
        phi = {
            name: params[name] - self.rates.at(learned_rates, name, step) * slope
            for name, slope in gradient.items()
        }
        return Adapted({**params, **phi}, stats)

    def query(self, params: Tensors, episode: Episode, step: int, norm: Norm) -> Tensor:
        """The outputs on the query set after `step + 1` inner steps, `(queries, outputs)`."""
        return self.forward(self.norm_rows.at(params, step), episode.query_x, norm)

    def predict(
        self,
        params: Tensors,
        learned_rates: Tensors,
        running: Tensors,
        episode: Episode,
        *,
        looks: Looks,
        numerics: Numerics,
    ) -> Tensor:
        """Query outputs at each look, `(looks, queries, outputs)`.

        Where `running` normalises the queries, it also does the support passes.
        """
        after, bn_stats = looks

        def norm_at(step: int) -> Norm:
            if bn_stats == "running":
                return GivenStats(self.running_stats.at(running, step))
            return numerics.batch_stats()

        def outputs_after(params: Tensors, step: int) -> Tensor:
            network = partial(self.forward, self.norm_rows.at(params, step))
            given = self.running_stats.at(running, step)
            return query_outputs(network, episode, bn_stats, given, numerics.batch_stats)

        outputs = [outputs_after(params, 0)] if 0 in after else []
        for step in range(after[-1]):
            params, _ = self.step(
                params,
                learned_rates,
                episode,
                step,
                order=1,
                numerics=numerics,
                norm=norm_at(step),
            )
            if step + 1 in after:
                outputs.append(outputs_after(params, step))
        return torch.stack(outputs)
