"""The settings every run has, each with its type, range and meaning.

Imports no torch, so that `--help` is quick. A settings class holds no default values: those live in
`conf/`, and only there.
"""

from collections.abc import Mapping
from dataclasses import dataclass as marker
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""For every settings class: unknown keys, silent conversions, inf and nan are errors."""


@marker(frozen=True)
class OnlyWith:
    """An annotation of a setting: it has an effect only with this value of another setting.

    Both are of one section. Without a value the other one must be true, or above 0.
    """

    setting: str
    value: str | None = None

    def holds(self, settings: Any) -> bool:
        """Whether the other setting is as the annotated one needs it."""
        found = getattr(settings, self.setting)
        return bool(found) if self.value is None else found == self.value


EVAL_ARGUMENTS = ("run", "split", "output")
"""Those of `maml-eval` that are no settings of the experiment."""

BatchNormStats = Literal["batch", "support", "support_and_query", "running"]

Page = Literal["tensorboard", "mlflow", "wandb"]
EXTRAS: dict[Page, tuple[str, ...]] = {
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
}
"""Packages that a page needs; an extra of the page's name brings them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunSettings:
    """The root keys: which episodes, where the data are, on which device."""

    ways: Annotated[int, Field(ge=1, description="classes per episode (1 for regression)")]
    train_ways: Annotated[
        int | None, Field(ge=1, description="classes per training episode; null: ways")
    ]
    shots: Annotated[int, Field(ge=1, description="support examples per class")]
    train_shots: Annotated[
        int | None, Field(ge=1, description="support examples per class in training; null: shots")
    ]
    queries: Annotated[int, Field(ge=1, description="query examples per class")]
    train_queries: Annotated[
        int | None, Field(ge=1, description="query examples per class in training; null: queries")
    ]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="of weights and episodes")]
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | Annotated[str, Field(pattern=r"^cuda:[0-9]+$")],
        Field(description="auto takes cuda if any; cuda:1 is the second GPU, mps one of Apple's"),
    ]
    engine: Annotated[
        Literal["auto", "loop", "threads", "processes", "vmap", "graph"],
        Field(description="how the tasks of a batch are computed; the result is the same"),
    ]
    data_dir: Annotated[str, Field(min_length=1, description="where data sets are found")]
    cache_dir: Annotated[str, Field(min_length=1, description="where decoded images are kept")]
    resume: Annotated[
        str,
        Field(min_length=1, description="auto: go on with a run begun in the folder; never; DIR"),
    ]
    init_from: Annotated[
        str | None,
        Field(
            min_length=1, description="a run whose best weights this one starts from; null: none"
        ),
    ]
    logger: Annotated[
        list[Page] | None,
        Field(description="which pages show the run; []: none; null: [tensorboard]"),
    ]
    download: Annotated[bool, Field(description="fetch a missing data set, if its licence allows")]

    def ways_in(self, split: str) -> int:
        """Classes of the episodes of a split."""
        own = self.train_ways if split == "train" else None
        return own or self.ways

    def shots_in(self, split: str) -> int:
        """Support examples per class of the episodes of a split."""
        own = self.train_shots if split == "train" else None
        return own or self.shots

    def queries_in(self, split: str) -> int:
        """Query examples per class of the episodes of a split."""
        own = self.train_queries if split == "train" else None
        return own or self.queries

    @property
    def pages(self) -> list[Page]:
        """What `logger` asks for."""
        return ["tensorboard"] if self.logger is None else self.logger

    def check_logger(self) -> list[str]:
        """One sentence for each logger that is not installed where the run is to start."""
        return [
            f"logger=[{','.join(self.pages)}]: {' and '.join(missing)} must be installed: "
            f'pip install "maml-train[{page}]", or leave {page} out'
            for page, packages in EXTRAS.items()
            if page in self.pages and (missing := [p for p in packages if find_spec(p) is None])
        ]

    def check_train_ways(self, algo: str) -> list[str]:
        """For algorithms with an output per way: one sentence if training has other ways."""
        if self.ways_in("train") == self.ways:
            return []
        return [
            f"train_ways={self.train_ways} and ways={self.ways} differ, but algo={algo} has one "
            "output for each way, in training and at the test: give both the same value, as "
            "train_ways=null does, or choose algo=protonet or algo=finetune"
        ]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainSettings:
    """The outer loop."""

    epochs: Annotated[int, Field(ge=1, description="validation and checkpoint after each")]
    iterations_per_epoch: Annotated[int, Field(ge=1, description="outer updates per epoch")]
    tasks_per_batch: Annotated[int, Field(ge=1, description="episodes per outer update")]
    task_pool: Annotated[
        int | None,
        Field(ge=1, description="training draws from this many fixed tasks only; null: endless"),
    ]
    outer_lr: Annotated[float, Field(gt=0, le=10, description="outer learning rate, at the start")]
    min_outer_lr: Annotated[
        float, Field(ge=0, le=10, description="outer rate at the end, if annealed")
    ]
    halve_every: Annotated[
        int | None,
        Field(ge=1, description="the outer rate halves after so many iterations; null: never"),
    ]
    bn_stats: Annotated[
        Literal["batch", "support", "running"],
        Field(
            description="batch norm of the queries in training: of themselves, of the support "
            "set, or by running averages (the MAML family)"
        ),
    ]
    grad_clip: Annotated[
        float | None,
        Field(gt=0, description="clamps meta-gradients to +- this; null: off"),
    ]
    grad_clip_norm: Annotated[
        float | None,
        Field(gt=0, description="scales a longer meta-gradient, all of it, to this; null: off"),
    ]
    on_nonfinite: Annotated[
        Literal["stop", "skip"],
        Field(description="when a loss or meta-gradient is inf or nan: end, or pass over (100 x)"),
    ]
    patience: Annotated[
        int | None,
        Field(ge=1, description="ends after so many epochs without better validation; null: off"),
    ]
    max_time: Annotated[
        float | None,
        Field(gt=0, description="minutes, then a checkpoint and the end (143); null: no limit"),
    ]

    def check_bn_stats(self, algo: str) -> list[str]:
        """For algorithms that train by batch statistics alone: one sentence if others are asked."""
        if self.bn_stats == "batch":
            return []
        return [
            f"train.bn_stats={self.bn_stats}: algo={algo} trains by the statistics of the batch, "
            "other ones are for the MAML family: set train.bn_stats=batch"
        ]

    def check_annealing(self) -> list[str]:
        """For algorithms that anneal the outer rate: why it cannot be, one sentence each."""
        problems = []
        if self.min_outer_lr > self.outer_lr:
            problems.append(
                f"train.min_outer_lr={self.min_outer_lr} is above train.outer_lr={self.outer_lr}: "
                "lower it, or raise train.outer_lr"
            )
        if self.halve_every is not None:
            problems.append(
                f"train.halve_every={self.halve_every} halves an outer rate that is annealed "
                "already: set train.halve_every=null, or turn the annealing off"
            )
        return problems


class ForProblems:
    """Base of the settings of algorithms for data sets that are made `OfProblems`."""


class OfProblems:
    """Base of the settings of data sets whose tasks are optimisation problems (core/problems.py).

    Such a data set brings the network whose parameters are sought.
    """

    name: str

    def check(self, run: RunSettings) -> list[str]:
        """One sentence for each setting of few-shot tasks that is not as it always is here."""
        wanted: dict[str, int | None] = {"ways": 1, "shots": 1, "queries": 1}
        wanted |= {"train_ways": None, "train_shots": None, "train_queries": None}
        return [
            f"{key}={getattr(run, key)}: dataset={self.name} has optimisation problems, which have "
            f"no {key.removeprefix('train_')}: leave {key} out"
            for key, value in wanted.items()
            if getattr(run, key) != value
        ]


class AlgorithmDefaults:
    """What most algorithms' settings say, to derive from (see `core/experiment.py`)."""

    def check(self, experiment: Any) -> list[str]:
        """Nothing contradicts the rest of the experiment."""
        return []

    @property
    def together(self) -> bool:
        """The tasks of a batch know nothing of each other."""
        return False

    @property
    def anneals(self) -> bool:
        """The outer rate does not fall to `train.min_outer_lr`."""
        return False

    def most_shots(self, run: RunSettings) -> int | None:
        """A support set may have any number of examples."""
        return None

    def toggles(self) -> dict[str, bool | str]:
        """There are no switches."""
        return {}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested configuration as `group.key` to value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
