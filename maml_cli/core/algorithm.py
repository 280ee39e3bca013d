"""The seam between the algorithms and everything that computes, trains, saves and evaluates them.

An algorithm says what one task contributes, as functions of its arguments; it knows no engine.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from maml_cli.core.autodiff import Autodiff, detached
from maml_cli.core.norms import Norm
from maml_cli.core.types import Episode, Evaluation, Progress

Sections = dict[str, dict[str, Tensor]]
"""Named tensors in named sections, such as `{"model": ..., "inner_lr": ...}`."""

Merge = Literal["mean", "last", "rows"]
"""How an output of single tasks becomes one of the batch: their mean, that of the last task, or one
row per task along a new first dimension."""

LOG = "log"
"""The section of a task's outputs that is recorded; merged by the mean."""


@dataclass(frozen=True, kw_only=True)
class MetaParameters:
    """Everything that is learned: `theta` by gradient, `state` by other rules (running statistics).

    `inputs` are numbers that change at every iteration (`Algorithm.inputs`); they are not saved.
    """

    theta: Sections
    state: Sections
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def constant(self) -> "MetaParameters":
        """The same values, of which nothing is differentiated."""
        return MetaParameters(theta=detached(self.theta), state=self.state, inputs=self.inputs)

    def to(self, device: torch.device) -> "MetaParameters":
        """The same values on a device."""

        def moved(sections: Sections) -> Sections:
            return {s: {n: t.to(device) for n, t in ts.items()} for s, ts in sections.items()}

        return MetaParameters(theta=moved(self.theta), state=moved(self.state))


def flat(sections: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors under the names `SECTION.NAME`, as checkpoints and messages have them."""
    return {f"{s}.{n}": t for s, tensors in sections.items() for n, t in tensors.items()}


def nested(tensors: Mapping[str, Tensor]) -> Sections:
    """The opposite of `flat`; a section's name holds no dot."""
    sections: Sections = {}
    for name, tensor in tensors.items():
        section, _, rest = name.partition(".")
        sections.setdefault(section, {})[rest] = tensor
    return sections


@dataclass(frozen=True, kw_only=True)
class Phase:
    """All by which the progress of training may change what a task computes.

    A loss sees nothing else of progress. A phase is compared and hashed: engines that record a
    computation record it again when the phase changes, and each epoch's phase is logged. Subclasses
    add frozen fields. What changes at every iteration belongs into `Algorithm.inputs`.
    """


class Ops(NamedTuple):
    """What an engine supplies to the computation of a task."""

    autodiff: Autodiff
    batch_stats: Callable[[], Norm]
    """A fresh normalisation by batch statistics, for one pass through a network."""


class TaskStep(NamedTuple):
    """What one task says, or the tasks of a batch after merging."""

    gradient: Sections
    """Keyed as theta; merged by the mean."""
    outputs: Sections
    """`log` and the sections that `Algorithm.merges` declares."""


@dataclass(frozen=True, kw_only=True)
class MetaStep:
    """What one batch of episodes says about the meta-parameters.

    `gradient` is keyed as theta; `loss` is the outer loss, a scalar; `query_loss` and
    `query_metric` are means over the tasks, one value for each of `query_steps`: the inner steps
    (from 1, ascending; 0 before any) after which the query set was scored.
    """

    gradient: Sections
    state: Sections
    loss: Tensor
    query_loss: Tensor
    query_metric: Tensor
    query_steps: tuple[int, ...]


class Algorithm(ABC):
    """An algorithm, assembled for one network and objective.

    A subclass has at least `init`, `predict` and one of `loss` and `task`.
    """

    steps: int = 0
    """Inner steps in training, and in evaluation unless the user wants others."""
    together: bool = False
    """Whether `task` is given all tasks of a batch at once, because they know of each other."""
    starts_from: str | None = None
    """The folder of a run whose best `model` training starts with, instead of `init`'s."""
    merges: ClassVar[Mapping[str, Merge]] = {}
    """How each section of a task's outputs is merged over the tasks, `log` apart."""
    carried: ClassVar[tuple[str, ...]] = ()
    """Sections of the state that training hands from iteration to iteration and nothing else reads.

    A test on tasks of another form may do without them."""

    @abstractmethod
    def init(self, seed: int) -> MetaParameters:
        """Fresh meta-parameters; the same seed gives the same ones."""

    def optimizer(self, theta: list[Tensor]) -> torch.optim.Optimizer:
        """The outer optimiser; its learning rate is set before every step from `outer_lr`."""
        return torch.optim.Adam(theta)

    @abstractmethod
    def outer_lr(self, progress: Progress) -> float:
        """The outer learning rate at this point of training."""

    def phase(self, progress: Progress) -> Phase:
        """What progress changes in a task's computation, from epoch to epoch."""
        return Phase()

    def inputs(self, progress: Progress) -> dict[str, float]:
        """Numbers that change at every iteration; tasks find them in `params.inputs`."""
        return {}

    def batch_number(self, iteration: int) -> int:
        """Which batch of training episodes an iteration sees (from 0): each has its own."""
        return iteration

    def query_steps(self, phase: Any) -> tuple[int, ...]:
        """The inner steps after which a task scores its queries in training."""
        return (self.steps,)

    def loss(
        self, params: MetaParameters, episode: Episode, phase: Any, ops: Ops
    ) -> tuple[Tensor, Sections]:
        """The outer loss of one task, a scalar to be differentiated at `params.theta`, and outputs.

        `phase` is what the method `phase` returned.
        The section `log` of the outputs has `query_loss` and `query_metric`, one value for each of
        `query_steps`.
        """
        raise NotImplementedError

    def task(self, params: MetaParameters, episode: Episode, phase: Any, ops: Ops) -> TaskStep:
        """What one task contributes: by default, the gradient of its loss.

        With `together` the episode is a batch of episodes.
        """

        def loss(theta: Sections) -> tuple[Tensor, Sections]:
            at = MetaParameters(theta=theta, state=params.state, inputs=params.inputs)
            return self.loss(at, episode, phase, ops)

        found = ops.autodiff.outer_gradient(loss, params.theta)
        outputs = found.auxiliary
        log = {"loss": found.value.detach(), **outputs[LOG]}
        return TaskStep(found.gradient, {**outputs, LOG: log})

    def next_state(self, state: Sections, outputs: Sections) -> Sections:
        """The state after an outer update, from the outputs of its tasks, merged."""
        return state

    @abstractmethod
    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """One task's query outputs, `(evaluation steps, samples, queries, outputs)`.

        `samples` is 1 for an algorithm without randomness.
        """

    def features(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """What the network makes of one task's queries, `(evaluation steps, queries, ...)`.

        A learner may leave this out; its features can then not be kept (`eval.keep`).
        """
        raise NotImplementedError

    @property
    def has_features(self) -> bool:
        """Whether the learner says what the features of a query are."""
        return type(self).features is not Algorithm.features

    def learned_rates(self, params: MetaParameters) -> dict[str, list[float]]:
        """The learned inner rates per tensor and step, to log; empty if none are learned."""
        return {}

    def remarks(self, params: MetaParameters) -> tuple[str, ...]:
        """What a reader of the results must know of what was learned."""
        return ()


def misfits(
    wanted: MetaParameters, found: MetaParameters, *, apart_from: Collection[str] = ()
) -> list[str]:
    """One phrase per parameter that is missing, surplus, or of another shape or type than wanted.

    Sections `apart_from` are not looked at.
    """
    phrases = []
    for part in ("theta", "state"):
        ours, theirs = (
            flat({s: t for s, t in getattr(params, part).items() if s not in apart_from})
            for params in (wanted, found)
        )
        for name in {**ours, **theirs}:
            if name not in theirs:
                phrases.append(f"{name} is missing")
            elif name not in ours:
                phrases.append(f"{name} is not part of it")
            elif ours[name].shape != theirs[name].shape:
                phrases.append(
                    f"{name} would have to be {_by(ours[name].shape)}, but is "
                    f"{_by(theirs[name].shape)}"
                )
            elif ours[name].dtype != theirs[name].dtype:
                phrases.append(
                    f"{name} would have to be {ours[name].dtype}, but is {theirs[name].dtype}"
                )
    return phrases


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def check_phase(phase: Any) -> None:
    """Raise TypeError if it cannot be the key of a recording."""
    try:
        hash(phase)
    except TypeError as error:
        raise TypeError(
            f"{type(phase).__name__}: a phase must be hashable, with tuples for lists ({error})"
        ) from None
