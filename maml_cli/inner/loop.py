"""The inner loop: from theta to adapted parameters phi on a support set, step by step.

Its parts: where a task begins (start), what a step sees of the support set (feed), what the network
is handed (view), what a step does with a gradient (update rule), what normalises (norm policy), and
what remains of a step for the backward pass (checkpointing).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from maml_cli.core.algorithm import MetaParameters, Ops, Sections
from maml_cli.core.autodiff import ScalarFunction, detached, with_gradient
from maml_cli.core.likelihood import Likelihood
from maml_cli.core.network import Network
from maml_cli.core.norms import Norm
from maml_cli.core.objective import Objective
from maml_cli.core.types import Episode, Tensors
from maml_cli.inner.checkpointing import Checkpointing, keep_graph
from maml_cli.inner.feeds import Feed, WholeSupport
from maml_cli.inner.norm_policies import NormPolicy
from maml_cli.inner.running_stats import InputAverages
from maml_cli.inner.update_rules import InnerStep, UpdateRule
from maml_cli.inner.views import AsTheyAre, View, part_of

Start = Callable[[Sections, Episode], Tensors]
"""Gives the parameters of the network that a task begins with, from theta and the episode."""


class Point(NamedTuple):
    """A task's parameters after some inner step."""

    phi: Tensors
    """The adapted ones."""
    memory: Sections
    """Of the update rule."""


def meta_learned(theta: Sections, _: Episode) -> Tensors:
    """Every task begins with the network of theta."""
    return theta["model"]


class Scored(NamedTuple):
    """The query set at some point."""

    loss: Tensor
    log: dict[str, Tensor]
    """`query_loss` and `query_metric`, as constants."""
    statistics: Tensors
    """What the norm policy gathers of the query pass."""


@dataclass(frozen=True, kw_only=True)
class InnerLoop:
    """The parts of an inner loop, which do not change during training."""

    network: Network
    objective: Objective
    adapts: tuple[str, ...]
    """The parts of the network and of what views add that inner steps change."""
    rule: UpdateRule
    averages: InputAverages | None = None
    """The running statistics of training, if there are any."""
    view: View = AsTheyAre()  # noqa: RUF009 -- holds no state
    feed: Feed = WholeSupport()  # noqa: RUF009
    start: Start = meta_learned
    checkpointing: Checkpointing = keep_graph
    proximal: float = 0.0
    """Weight l of the term `l / 2 |phi - phi_0|^2` in the support loss, phi_0 being the start."""
    learned: str = "inner_lr"
    """The section of theta that holds what is meta-learned of the rule."""

    def init(self, outputs: int, generator: Generator) -> Sections:
        """Fresh meta-parameters: the sections `model` and, if anything is, what is `learned`."""
        body = self.network.init(generator)
        model = self.view.init(body | self.network.init_head(outputs, generator), generator)
        learned = self.rule.init(self.adapted(self.view.start(model)), generator)
        return {"model": model} | ({self.learned: learned} if learned else {})

    def adapted(self, model: Tensors) -> dict[str, Tensor]:
        """The parameters that inner steps change."""
        return {n: p for n, p in model.items() if part_of(n, self.network) in self.adapts}

    @property
    def reuses_features(self) -> bool:
        """Whether features are the same at every step, because the head alone adapts."""
        return self.adapts == ("head",) and self.view.constant and self.feed.whole

    def begin(
        self,
        params: MetaParameters,
        episode: Episode,
        ops: Ops,
        *,
        policy: NormPolicy,
        order: int,
        memory: Sections | None = None,
        before: int | Tensor = 0,
    ) -> "Adaptation":
        """The start of one task; `memory` is the update rule's, unless it begins anew.

        With `order` 2 the inner gradients are differentiable, with 1 they are constants. The feed
        goes on after `before` steps.
        """
        model = self.view.start(self.start(params.theta, episode))
        phi = self.adapted(model)
        rest = {n: p for n, p in model.items() if n not in phi}
        return Adaptation(
            loop=self,
            episode=episode,
            ops=ops,
            policy=policy,
            order=order,
            learned=params.theta.get(self.learned, {}),
            running=params.state.get("running", {}),
            rest=rest,
            start=Point(phi, self.rule.memory(phi) if memory is None else memory),
            before=before,
        )


class Adaptation:
    """One task on its way through an inner loop."""

    def __init__(
        self,
        *,
        loop: InnerLoop,
        episode: Episode,
        ops: Ops,
        policy: NormPolicy,
        order: int,
        learned: Tensors,
        running: Tensors,
        rest: Tensors,
        start: Point,
        before: int | Tensor,
    ) -> None:
        self.start = start
        self._loop, self._episode, self._ops = loop, episode, ops
        self._policy, self._order, self._learned, self._running = policy, order, learned, running
        self._before = before
        # what the passes need beside phi: the other parameters, or features computed once
        self._support: dict[str, Any] = {"model": rest}
        self._query: dict[str, Any] = {"model": rest}
        self._query_statistics: Tensors = {}
        if loop.reuses_features:
            self._compute_features(rest)

    def _compute_features(self, rest: Tensors) -> None:
        norm = self._policy.support(self._ops, self._running_at(0))
        seen = rest if self._order == 2 else detached(rest)
        features = self._loop.network.features
        self._support = {"features": features(seen, self._episode.support_x, norm)}
        found, self._query_statistics = self._policy.queries(
            partial(features, rest), self._episode, self._ops, self._running_at(0)
        )
        self._query = {"features": found}

    def step(self, point: Point, number: int) -> Point:
        """The task after inner step `number` (from 0), a segment for checkpointing."""
        phi, memory, _ = self._checkpointed(point, number, with_loss=False)
        return Point(phi, memory)

    def descend(self, point: Point, number: int) -> tuple[Point, Tensor]:
        """The same, and the support loss before the step, which only the outer gradient passes."""
        phi, memory, loss = self._checkpointed(point, number, with_loss=True)
        return Point(phi, memory), loss

    def _checkpointed(self, point: Point, number: int, *, with_loss: bool) -> tuple[Any, ...]:
        inputs = {
            "phi": point.phi,
            "memory": point.memory,
            "fixed": self._support,
            "learned": self._learned,
            "anchor": self.start.phi if self._loop.proximal else {},
        }
        segment = partial(self._segment, number, with_loss)
        found: tuple[Any, ...] = self._loop.checkpointing(
            segment, inputs, self._episode, self._order, self._ops.autodiff
        )
        return found

    def _segment(
        self, number: int, with_loss: bool, inputs: Mapping[str, Any], episode: Episode, order: int
    ) -> tuple[Tensors, Sections, Any]:
        fixed = inputs["fixed"] if order == 2 else detached(inputs["fixed"])
        phi = inputs["phi"]
        x, y = self._examples(episode, number)
        support_loss = self._support_loss(fixed, x, y, number)
        found = self._ops.autodiff.gradient(support_loss, phi, differentiable=order == 2)
        loss: Any = ()
        if with_loss:
            first_order = order == 1
            loss = with_gradient(found.value, phi, found.gradient) if first_order else found.value
        gradient = found.gradient
        if self._loop.proximal:
            pull = {n: self._loop.proximal * (p - inputs["anchor"][n]) for n, p in phi.items()}
            pull = pull if order == 2 else detached(pull)
            gradient = {n: g + pull[n] for n, g in gradient.items()}
        at = InnerStep(number, found.value, episode.key, len(x))
        phi, memory = self._loop.rule.step(inputs["learned"], inputs["memory"], phi, gradient, at)
        return phi, memory, loss

    def _examples(self, episode: Episode, number: int) -> tuple[Tensor, Tensor]:
        """Those of the support set that step `number` sees."""
        x, y = episode.support_x, episode.support_y
        if self._loop.feed.whole:
            return x, y
        rows = self._loop.feed.rows(episode.key, len(x), self._before + number)
        return x[rows], y[rows]

    def _support_loss(
        self, fixed: Mapping[str, Any], x: Tensor, y: Tensor, number: int
    ) -> ScalarFunction:
        """The loss that step `number` descends on, of these examples."""

        def support_loss(phi: Tensors) -> tuple[Tensor, Tensors]:
            norm = self._policy.support(self._ops, self._running_at(number))
            outputs = self._outputs({"phi": phi, **fixed}, number, x, norm)
            return self._loop.objective.support_loss(outputs, y), {}

        return support_loss

    def support_gradient(self, phi: Tensors, number: int) -> dict[str, Tensor]:
        """The gradient of the support loss alone at phi, at step `number`; differentiable."""
        examples = self._examples(self._episode, number)
        support_loss = self._support_loss(self._support, *examples, number)
        found = self._ops.autodiff.gradient(support_loss, phi, differentiable=True)
        gradient: dict[str, Tensor] = found.gradient
        return gradient

    def support_loss(self, point: Point, number: int) -> Tensor:
        """What step `number` would descend on, as a value that only the outer gradient passes."""
        examples = self._examples(self._episode, number)
        function = self._support_loss(self._support, *examples, number)
        return self._ops.autodiff.eager_loss(function, point.phi)[0]

    def losses(self, after: tuple[int, ...]) -> Tensor:
        """The support loss after so many steps each (ascending), `(len(after),)`.

        After n steps it is what step n descends on: of examples that no step before has seen, if
        the feed draws them anew.
        """
        point, found = self.start, []
        for number in range(after[-1]):
            point, loss = self.descend(point, number)
            if number in after:
                found.append(loss)
        return torch.stack([*found, self.support_loss(point, after[-1])])

    def answer(self, point: Point, number: int) -> tuple[Tensor, Tensors]:
        """The outputs on the query set after step `number` (from 0), `(queries, outputs)`.

        With them comes what the norm policy gathers of the query pass.
        """
        outputs, statistics = self._answer({"phi": point.phi, **self._query}, number)
        return outputs, statistics or self._query_statistics

    def score(self, point: Point, number: int) -> Scored:
        """The query loss after step `number`, which only the outer gradient passes."""

        def loss(inputs: Mapping[str, Any]) -> tuple[Tensor, tuple[dict[str, Tensor], Tensors]]:
            outputs, statistics = self._answer(inputs, number)
            y, objective = self._episode.query_y, self._loop.objective
            value = objective.loss(outputs, y)
            metric = objective.metric(outputs.detach(), y)
            log = {"query_loss": value.detach(), "query_metric": metric}
            return value, (log, statistics)

        value, (log, statistics) = self._ops.autodiff.eager_loss(
            loss, {"phi": point.phi, **self._query}
        )
        return Scored(value, log, statistics or self._query_statistics)

    def support_outputs(self, phi: Tensors, number: int) -> Tensor:
        """The outputs on the support set after step `number`, `(examples, outputs)`, at any phi."""
        norm = self._policy.support(self._ops, self._running_at(number))
        return self._outputs({"phi": phi, **self._support}, number, self._episode.support_x, norm)

    @property
    def likelihood(self) -> Likelihood:
        """The density of targets."""
        return self._loop.objective.likelihood

    def gather(self, point: Point, number: int) -> Tensors:
        """What the norm policy gathers of a query pass after step `number`, without gradients."""
        with torch.no_grad():
            found: Tensors = detached(self.answer(Point(*detached(tuple(point))), number)[1])
        return found

    def _answer(self, inputs: Mapping[str, Any], number: int) -> tuple[Tensor, Tensors]:
        if "features" in inputs:
            return self._loop.network.head(inputs["phi"], inputs["features"]), {}

        def network(x: Tensor, norm: Norm) -> Tensor:
            return self._outputs(inputs, number, x, norm)

        running = self._running_at(number)
        return self._policy.queries(network, self._episode, self._ops, running)

    def _outputs(self, inputs: Mapping[str, Any], number: int, x: Tensor, norm: Norm) -> Tensor:
        """The network's outputs for inputs x, or for features that were computed before."""
        if "features" in inputs:
            return self._loop.network.head(inputs["phi"], inputs["features"])
        model = self._loop.view.at({**inputs["model"], **inputs["phi"]}, number)
        return self._loop.network.outputs(model, x, norm)

    def _running_at(self, number: int) -> Tensors:
        averages = self._loop.averages
        return self._running if averages is None else averages.at(self._running, number)

    def predict(self, after: tuple[int, ...]) -> Tensor:
        """Query outputs after so many steps each, `(evaluation steps, 1, queries, outputs)`."""
        point, outputs = self.start, []
        if 0 in after:
            outputs.append(self.answer(point, 0)[0])
        for number in range(after[-1]):
            point = self.step(point, number)
            if number + 1 in after:
                outputs.append(self.answer(point, number)[0])
        return torch.stack(outputs).unsqueeze(1)
