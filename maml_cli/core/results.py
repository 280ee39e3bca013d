"""The results of a run as one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from maml_cli.core.calibration import Calibration
from maml_cli.core.metric import Metric
from maml_cli.core.stats import Estimate

Split = Literal["val", "test"]

MILESTONES = (20, 40, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Steps after which tables tell the loss of optimisation problems, beside the start and the end."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """A metric after some numbers of inner steps, always over the same episodes."""

    estimates: Mapping[int, Estimate]
    """By the number of inner steps, ascending; at least one."""

    @property
    def inner_steps(self) -> int:
        """The number of inner steps at the end."""
        return max(self.estimates)

    @property
    def last(self) -> Estimate:
        """The metric after the last inner step."""
        return self.estimates[self.inner_steps]


class Spread(NamedTuple):
    """How the losses of single problems lie after some number of steps."""

    median: float
    low: float
    """A quarter of the problems is below this."""
    high: float
    """A quarter is above this."""
    diverged: int
    """Problems whose loss is not finite, or above that of their start."""


@dataclass(frozen=True, kw_only=True)
class Descents:
    """What the results on optimisation problems have beside means."""

    spread: Mapping[int, Spread]
    """By the number of steps, ascending."""
    seconds_per_step: float
    """Of one problem, in the test, on the machine that computed it."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What was trained, on what, and how: everything known before the first episode."""

    algo: str
    dataset: str
    ways: int
    shots: int
    queries: int
    train_ways: int | None
    """In training; None: written by a version that did not record it. So are shots and queries."""
    train_shots: int | None
    train_queries: int | None
    own_steps: int | None
    """The algorithm's inner steps; a test may take others. None: not recorded."""
    seed: int
    toggles: Mapping[str, bool | str]
    """The algorithm's switches in force: on or off, or in words, such as `epochs 0 to 9`."""
    metric: Metric
    backbone: str
    tasks_per_batch: int
    task_pool: int | None
    """How many fixed tasks training draws from; None: an endless supply."""
    parameters: int
    """Learned scalars, all meta-parameters: weights, inner rates, per-step batch norm."""
    remarks: tuple[str, ...]
    """What a reader of the results must know, such as that the data are incomplete."""
    command: str
    """The command line that repeats the run."""

    @property
    def title(self) -> str:
        """One line that names the run."""
        if not self.metric.few_shot:
            return f"{self.algo} on {self.dataset}, seed {self.seed}"
        ways = f"{self.ways}-way " if self.ways > 1 else ""
        return f"{self.algo} on {self.dataset}, {ways}{self.shots}-shot, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where a run was computed."""

    device: str
    """`cpu`, or the model of the GPU."""
    engine: str
    versions: Mapping[str, str | None]
    """By package; None: not installed."""
    platform: str
    cpu: str
    threads: int
    git: str | None
    """The commit of the checkout, with `-dirty` if files differ; None for an installed wheel."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The metric of a run's best networks on the episodes of one split."""

    split: Split
    bn_stats: str | None
    """Which statistics batch norms used; None for a network without batch norms."""
    ensemble: Course
    """Of the averaged outputs of the networks."""
    ensemble_size: int
    calibration: Calibration | None
    """Of the ensemble's probabilities; None: not recorded."""
    single: Course
    """Of the best network alone. `results.json` keeps its last value alone, unless the metric is
    reported per step; then the course has this one step."""
    course: Course | None = None
    """Of the best network alone on the first episodes, after each inner step. None if the metric is
    reported per step, if there are no inner steps, and in results of earlier versions: there
    `ensemble` has all steps."""
    not_finite: int = 0
    """Episodes in which an output of the ensemble is inf or nan, and so counts as wrong."""
    descents: Descents | None = None
    """Of optimisation problems; None for few-shot tasks."""

    @property
    def by_step(self) -> Course:
        """The metric after each inner step, as tables and charts show it."""
        return self.course or self.ensemble

    @property
    def episodes(self) -> int:
        """How many episodes every estimate is over, but for `course`."""
        return self.ensemble.last.n

    @property
    def inner_steps(self) -> int:
        """Inner steps of adaptation at the end."""
        return self.ensemble.inner_steps


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The best epoch of a training."""

    mean: float
    """Its validation metric."""
    best_epoch: int
    """From 1."""


@dataclass(frozen=True, kw_only=True)
class Retest:
    """The run that was tested again, where the results are not those of its own test."""

    run: str
    """Its folder."""
    trained_by: str | None
    """The command that trained it; None if its checkpoints do not say."""
    epochs: int
    """Epochs that it was trained."""


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """All that a run has found. Accuracies are fractions between 0 and 1."""

    protocol: Protocol
    environment: Environment
    test: EvaluationResult
    validation: Validation
    iterations: int
    """Outer updates of the training."""
    iterations_skipped: int | None
    """Updates that were left out since a loss was not finite; None: not recorded."""
    seconds_per_iteration: float
    learned: tuple[str, ...] = ()
    """What training found out, in sentences, such as the tuned rate of an optimiser."""
    retest: Retest | None = None

    @property
    def metric(self) -> Metric:
        """What is measured."""
        return self.protocol.metric

    @property
    def to_maximize(self) -> float:
        """What a search over runs maximises: the validation metric, or minus it."""
        return self.metric.to_maximize(self.validation.mean)

    def to_json(self) -> str:
        """The text of `results.json`; see core/results_json.py."""
        from maml_cli.core.results_json import encoded

        return encoded(self)

    @classmethod
    def from_json(cls, text: str) -> "RunResults":
        """The results in the text of a `results.json`, also of earlier versions of the program.

        Raises ValueError with the first entry that is missing or mistyped. Ignores entries that it
        does not know.
        """
        from maml_cli.core.results_json import decoded

        return decoded(text)
