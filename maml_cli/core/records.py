"""The records that a run reports while it goes, and the interface of their listeners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_cli.core.metric import Metric
from maml_cli.core.results import Environment, Protocol, RunResults
from maml_cli.core.scoring import EpisodeScores
from maml_cli.core.stats import Estimate
from maml_cli.core.types import Episode


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What is known before the first iteration."""

    protocol: Protocol
    environment: Environment
    epochs: int
    iterations_per_epoch: int
    notes: tuple[str, ...]
    """What the person who started it must know, such as that it goes on from a checkpoint."""
    start_iteration: int
    """Outer updates that were done before, by the run that this one continues."""
    start_epoch: int
    """Epochs that were done before, their validation included."""
    output_dir: Path
    hparams: Mapping[str, bool | int | float | str]
    """The resolved configuration, flat, as it is typed: `algo`, `train.outer_lr` and so on."""

    @property
    def iterations(self) -> int:
        """Outer updates in the whole run."""
        return self.epochs * self.iterations_per_epoch

    @property
    def metric(self) -> Metric:
        """What is reported."""
        return self.protocol.metric


@dataclass(frozen=True, kw_only=True)
class IterationRecord:
    """Means over the iterations since the record before."""

    iteration: int
    """Outer updates done so far, from 1."""
    epoch: int
    """The epoch they belong to, from 0."""
    loss: float
    """The outer loss."""
    metric: float
    """On the query sets, after the last inner step."""
    query_losses: Mapping[int, float]
    """Query loss after inner step k (from 1), for each k at which it was computed."""
    query_metrics: Mapping[int, float]
    """The metric on the query sets after inner step k, for the same k."""
    outer_lr: float
    iterations_per_second: float


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """The state after an epoch and its validation."""

    epoch: int
    """From 0."""
    iteration: int
    """Outer updates done so far."""
    val: Mapping[int, Estimate]
    """Validation metric by the number of inner steps, ascending."""
    best: bool
    """Whether no epoch before was better."""
    inner_rates: Mapping[str, tuple[float, ...]]
    """Inner learning rates by adapted tensor, one per inner step (their mean, if each element
    has one); empty if they are not learned."""
    phase: Mapping[str, Any]
    """What the epoch changed in the computation of a task: the fields of the algorithm's phase."""

    @property
    def reported(self) -> Estimate:
        """The validation metric after the last inner step."""
        return self.val[max(self.val)]


class Curves(NamedTuple):
    """Fitted curves on E tasks: P grid points, K support points, S inner steps."""

    x: NDArray[np.floating]
    """(E, P)"""
    truth: NDArray[np.floating]
    """(E, P)"""
    predictions: NDArray[np.floating]
    """(S + 1, E, P): after 0 to S inner steps."""
    support_x: NDArray[np.floating]
    """(E, K)"""
    support_y: NDArray[np.floating]
    """(E, K)"""
    samples: NDArray[np.floating]
    """(samples, E, P): what the last fit is the mean of."""
    bands: NDArray[np.floating] | None
    """(4, E, P): the ends of the central 90 and 50 % bands, ascending; None without a variance."""
    axes: tuple[str, str] = ("x", "y")
    """What x and y are."""


@dataclass(frozen=True, kw_only=True)
class Queries:
    """What a test keeps of its queries: E episodes of W classes, with Q queries each."""

    labels: NDArray[np.integer]
    """(E, Q): the true label, 0 to W-1."""
    classes: NDArray[np.integer]
    """(E, W): the class that a label stands for, by its number in the split."""
    names: Sequence[str]
    """The name of each class of the split."""
    files: Sequence[Sequence[str]] | None
    """The file of each query; None if the data come from no files."""
    probabilities: NDArray[np.floating]
    """(E, Q, W): the ensemble's, of each label; nan where an output is not finite."""
    features: Sequence[NDArray[np.floating]]
    """(E, Q, ...) of the best network: before the adaptation and, if it changes them, after it.

    Empty if nobody asked for them."""

    @property
    def truth(self) -> NDArray[np.integer]:
        """(E, Q): the number of each query's class."""
        return np.take_along_axis(self.classes, self.labels, 1)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(E, Q): whether all outputs are finite."""
        finite: NDArray[np.bool_] = np.isfinite(self.probabilities).all(-1)
        return finite

    @property
    def predicted(self) -> NDArray[np.integer]:
        """(E, Q): the number of the most probable class; without meaning if not `answered`."""
        return np.take_along_axis(self.classes, self.probabilities.argmax(-1), 1)


class ScoredEpisodes(NamedTuple):
    """The test, episode by episode."""

    ensemble: Sequence[float]
    """The metric after the last inner step."""
    single: Sequence[float]
    """The same of the best network alone."""
    calibration: Mapping[str, EpisodeScores]
    """The ensemble's scores as probabilities: `raw`, if it has any, and `fitted`."""
    milestones: Mapping[int, Sequence[float]]
    """On optimisation problems, the loss after the steps that tables tell of; else empty."""
    queries: Queries | None = None
    """What `eval.keep` asks for."""


class Sink:
    """A listener to a run. This one does nothing; others override the methods that they need."""

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        """Training begins; `preview` is the first training episode, without a batch dimension."""

    def iteration(self, record: IterationRecord) -> None:
        """Some iterations are done."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch and its validation are done."""

    def evaluating(self, split: str, done: int, total: int) -> None:
        """`done` of `total` episodes of the split (val or test) are evaluated: from 0 to total."""

    def flush(self) -> None:
        """A checkpoint follows: write earlier records to disk, as they will not be sent again."""

    def tested(self, episodes: ScoredEpisodes) -> None:
        """The test is done; `finish` follows."""

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        """The test is done; `curves` are those of a regression run."""

    def close(self) -> None:
        """The run is over, whether or not it finished; called once, also before any other call."""
