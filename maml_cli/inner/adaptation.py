"""One task on its way through an inner loop, step by step."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maml_cli.core.algorithm import Ops, Sections
from maml_cli.core.autodiff import ScalarFunction, detached, with_gradient
from maml_cli.core.likelihood import Likelihood
from maml_cli.core.norms import Norm
from maml_cli.core.types import Episode, Tensors
from maml_cli.inner.norm_policies import NormPolicy
from maml_cli.inner.parts import Parts
from maml_cli.inner.update_rules import InnerStep


class Point(NamedTuple):
    """A task's parameters after some inner step."""

    phi: Tensors
    """The adapted ones."""
    memory: Sections
    """Of the update rule."""


class Scored(NamedTuple):
    """The query set at some point."""

    loss: Tensor
    log: dict[str, Tensor]
    """`query_loss` and `query_metric`, as constants."""
    statistics: Tensors
    """What the norm policy gathers of the query pass."""


class Adaptation:
    """One task on its way through an inner loop."""

    def __init__(
        self,
        *,
        parts: Parts,
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
        self._parts, self._episode, self._ops = parts, episode, ops
        self._policy, self._order, self._learned, self._running = policy, order, learned, running
        self._before = before
        # what the passes need beside phi: the other parameters, or features computed once
        self._support: dict[str, Any] = {"model": rest}
        self._query: dict[str, Any] = {"model": rest}
        self._query_statistics: Tensors = {}
        if parts.reuses_features:
            self._compute_features(rest)

    def _compute_features(self, rest: Tensors) -> None:
        norm = self._policy.support(self._ops, self._running_at(0))
        seen = rest if self._order == 2 else detached(rest)
        features = self._parts.network.features
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
            "anchor": self.start.phi if self._parts.proximal else {},
        }
        segment = partial(self._segment, number, with_loss)
        found: tuple[Any, ...] = self._parts.checkpointing(
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
        if self._parts.proximal:
            pull = {n: self._parts.proximal * (p - inputs["anchor"][n]) for n, p in phi.items()}
            pull = pull if order == 2 else detached(pull)
            gradient = {n: g + pull[n] for n, g in gradient.items()}
        at = InnerStep(number, found.value, episode.key, len(x))
        phi, memory = self._parts.rule.step(inputs["learned"], inputs["memory"], phi, gradient, at)
        return phi, memory, loss

    def _examples(self, episode: Episode, number: int) -> tuple[Tensor, Tensor]:
        """Those of the support set that step `number` sees."""
        x, y = episode.support_x, episode.support_y
        rows = self._parts.feed.rows(episode.key, len(x), self._before + number)
        return x[rows], y[rows]

    def _support_loss(
        self, fixed: Mapping[str, Any], x: Tensor, y: Tensor, number: int
    ) -> ScalarFunction:
        """The loss that step `number` descends on, of these examples."""

        def support_loss(phi: Tensors) -> tuple[Tensor, Tensors]:
            norm = self._policy.support(self._ops, self._running_at(number))
            outputs = self._outputs({"phi": phi, **fixed}, number, x, norm)
            return self._parts.objective.support_loss(outputs, y), {}

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
            y, objective = self._episode.query_y, self._parts.objective
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
        return self._parts.objective.likelihood

    def gather(self, point: Point, number: int) -> Tensors:
        """What the norm policy gathers of a query pass after step `number`, without gradients."""
        with torch.no_grad():
            found: Tensors = detached(self.answer(Point(*detached(tuple(point))), number)[1])
        return found

    def _answer(self, inputs: Mapping[str, Any], number: int) -> tuple[Tensor, Tensors]:
        if "features" in inputs:
            return self._parts.network.head(inputs["phi"], inputs["features"]), {}

        def network(x: Tensor, norm: Norm) -> Tensor:
            return self._outputs(inputs, number, x, norm)

        running = self._running_at(number)
        return self._policy.queries(network, self._episode, self._ops, running)

    def _outputs(self, inputs: Mapping[str, Any], number: int, x: Tensor, norm: Norm) -> Tensor:
        """The network's outputs for inputs x, or for features that were computed before."""
        if "features" in inputs:
            return self._parts.network.head(inputs["phi"], inputs["features"])
        return self._parts.network.outputs(self._model(inputs, number), x, norm)

    def _model(self, inputs: Mapping[str, Any], number: int) -> Tensors:
        return self._parts.view.at({**inputs["model"], **inputs["phi"]}, number)

    def _running_at(self, number: int) -> Tensors:
        averages = self._parts.averages
        return self._running if averages is None else averages.at(self._running, number)

    def predict(self, after: tuple[int, ...]) -> Tensor:
        """Query outputs after so many steps each, `(evaluation steps, 1, queries, outputs)`."""
        outputs = [self.answer(point, number)[0] for point, number in self._points(after)]
        return torch.stack(outputs).unsqueeze(1)

    def features(self, after: tuple[int, ...]) -> Tensor:
        """Query features after so many steps each, `(evaluation steps, queries, ...)`."""
        return torch.stack([self._features(point, number) for point, number in self._points(after)])

    def _features(self, point: Point, number: int) -> Tensor:
        if "features" in self._query:
            computed: Tensor = self._query["features"]
            return computed
        model = self._model({"phi": point.phi, **self._query}, number)
        network = partial(self._parts.network.features, model)
        running = self._running_at(number)
        return self._policy.queries(network, self._episode, self._ops, running)[0]

    def ended(self, point: Point) -> Point:
        """The point where queries are answered after the last step (`Parts.last_pull`)."""
        if not (pull := self._parts.last_pull):
            return point
        return point._replace(
            phi={n: p - pull * (p - self.start.phi[n]) for n, p in point.phi.items()}
        )

    def _points(self, after: tuple[int, ...]) -> Iterator[tuple[Point, int]]:
        """Where queries are answered after so many steps each, and the number of the last step.

        Before any step that number is 0.
        """
        point = self.start
        if 0 in after:
            yield point, 0
        for number in range(after[-1]):
            point = self.step(point, number)
            if number + 1 in after:
                yield self.ended(point), number
