"""What one run is, in plain values: the settings of its parts, checked; without Hydra or torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from maml_cli.core.eval_settings import EvalSettings
from maml_cli.core.settings import (
    ForProblems,
    OfProblems,
    RunSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    import torch

    from maml_cli.core.algorithm import Algorithm
    from maml_cli.core.network import Network
    from maml_cli.core.types import TaskSource


class AlgorithmSettings(Protocol):
    """The settings class that an `algo` YAML names in `_target_`."""

    @property
    def name(self) -> str: ...

    def check(self, experiment: Experiment) -> list[str]:
        """What cannot work together with the rest of the experiment, one sentence each."""
        ...

    @property
    def together(self) -> bool:
        """Whether a batch cannot be split, because its tasks know of each other."""
        ...

    @property
    def anneals(self) -> bool:
        """Whether the outer rate falls to `train.min_outer_lr`."""
        ...

    def most_shots(self, run: RunSettings) -> int | None:
        """How many examples of each class it can be given at once; None: any number."""
        ...

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force, to be shown and stored with the results."""
        ...

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> Algorithm:
        """The algorithm assembled for a network and a source of episodes."""
        ...


class BackboneSettings(Protocol):
    """The settings class that a `backbone` YAML names in `_target_`."""

    @property
    def name(self) -> str: ...

    def build(self, input_shape: tuple[int, ...]) -> Network:
        """The network for inputs of a shape (without batch); raises UsageError."""
        ...


class DatasetSettings(Protocol):
    """The settings class that a `dataset` YAML names in `_target_`."""

    @property
    def name(self) -> str: ...

    def check(self, run: RunSettings) -> list[str]:
        """What the data set cannot supply, one sentence each; touches no data."""
        ...

    def load(self, run: RunSettings, device: torch.device) -> TaskSource:
        """The data, ready to draw episodes from; raises DataError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides a run's numbers."""

    run: RunSettings
    train: TrainSettings
    eval: EvalSettings
    algo: AlgorithmSettings
    dataset: DatasetSettings
    backbone: BackboneSettings
    resolved: str
    """The composed configuration with every interpolation resolved, as YAML text."""
    command: str
    """The command line that repeats the run."""
    processes: int
    """Among which the tasks of every batch are split."""
    notes: tuple[str, ...] = ()
    """What to say of the settings when the run starts."""

    def check(self) -> list[str]:
        """What valid settings cannot do together, one sentence each; touches no data."""
        kinds = self._check_kinds()
        tasks = [] if kinds else self.dataset.check(self.run)
        kept = self.eval.check_keep(self.dataset.name, self.run.ways)
        annealed = self.train.check_annealing() if self.algo.anneals else []
        return tasks + self.algo.check(self) + annealed + kinds + kept + self._check_processes()

    def check_running(self) -> list[str]:
        """For algorithms that gather no running statistics: a sentence for each key that asks."""
        ways_out = (
            ("train", self.train.bn_stats, "batch or support"),
            ("eval", self.eval.bn_stats, "batch, support or support_and_query"),
        )
        return [
            f"{key}.bn_stats=running: algo={self.algo.name} gathers no running statistics: set "
            f"{key}.bn_stats={others}"
            for key, asked, others in ways_out
            if asked == "running"
        ]

    def _check_kinds(self) -> list[str]:
        """That problems meet optimisers, and few-shot tasks few-shot learners."""
        problems = isinstance(self.dataset, OfProblems)
        of, algo, backbone = self.dataset.name, self.algo.name, self.backbone.name
        if problems == isinstance(self.algo, ForProblems):
            network = isinstance(self.backbone, OfProblems)
            if problems == network:
                return []
            way_out = "leave backbone out" if problems else "choose another, such as backbone=conv4"
            what = "brings" if problems else "does not bring"
            return [f"backbone={backbone}: dataset={of} {what} a network of its own: {way_out}"]
        if problems:
            return [
                f"algo={algo} learns from few-shot tasks, but dataset={of} has optimisation "
                "problems: choose an optimiser, such as algo=lstm_optimizer or algo=adam"
            ]
        return [
            f"algo={algo} is an optimiser of problems, such as dataset=quadratics, but dataset="
            f"{of} has few-shot tasks: choose another algo or another dataset"
        ]

    def _check_processes(self) -> list[str]:
        tasks, processes = self.train.tasks_per_batch, self.processes
        if processes > 1 and self.algo.together:
            return [
                f"algo={self.algo.name}, as it is set, does not compute the tasks of a batch apart "
                f"from each other, so {processes} processes cannot share them: start it without "
                "torchrun"
            ]
        if tasks < processes:
            return [
                f"train.tasks_per_batch={tasks} cannot be split over {processes} processes: "
                "raise it, or start fewer with torchrun"
            ]
        return []
