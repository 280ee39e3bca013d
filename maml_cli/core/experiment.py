"""What one run is, in plain values: the settings of its parts, checked; without Hydra or torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from maml_cli.core.settings import EvalSettings, RunSettings, TrainSettings

if TYPE_CHECKING:
    import torch

    from maml_cli.core.batch_norm import Norm
    from maml_cli.core.learner import Learner
    from maml_cli.core.types import TaskSource, Tensors
    from maml_cli.engines.engine import Engine


class Algorithm(Protocol):
    """The settings class that an `algo` YAML names in `_target_`."""

    @property
    def name(self) -> str: ...

    def check(self, experiment: Experiment) -> list[str]:
        """What cannot work together with the rest of the experiment, one sentence each."""
        ...

    @property
    def splits(self) -> bool:
        """Whether a batch may be split over processes: its tasks know nothing of each other."""
        ...

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force, to be shown and stored with the results."""
        ...

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> Learner:
        """The algorithm assembled for a network, a source of episodes and an engine."""
        ...


class Backbone(Protocol):
    """The settings class that a `backbone` YAML names in `_target_`: a network as pure functions.

    Parameters are a flat dictionary. Those of batch norms are named `*.norm.weight|bias`, those of
    the last layer, which is linear, `head.weight|bias`; the inner loop tells what to adapt by these
    names, and a pretrained network gets another head under them.
    """

    @property
    def name(self) -> str: ...

    def init(
        self, input_shape: tuple[int, ...], outputs: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Fresh parameters for inputs of a shape (without batch) and a number of outputs."""
        ...

    def apply(self, params: Tensors, x: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Outputs `(batch, outputs)` for inputs `(batch, *input_shape)`."""
        ...


class Dataset(Protocol):
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
    algo: Algorithm
    dataset: Dataset
    backbone: Backbone
    resolved: str
    """The composed configuration with every interpolation resolved, as YAML text."""
    command: str
    """The command line that repeats the run."""
    processes: int
    """Among which the tasks of every batch are split."""

    def check(self) -> list[str]:
        """What valid settings cannot do together, one sentence each; touches no data."""
        return self.dataset.check(self.run) + self.algo.check(self) + self._check_processes()

    def _check_processes(self) -> list[str]:
        tasks, processes = self.train.tasks_per_batch, self.processes
        if processes > 1 and not self.algo.splits:
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
