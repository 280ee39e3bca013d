"""What one run is, in plain values: the settings of its parts, checked; knows nothing of Hydra or torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from maml_cli.core.settings import EvalSettings, RunSettings, TrainSettings

if TYPE_CHECKING:
    import torch

    from maml_cli.core.types import TaskSource


class Algorithm(Protocol):
    """The settings class that an `algo` YAML names in `_target_`."""

    @property
    def name(self) -> str: ...

    def check(self, experiment: Experiment) -> list[str]:
        """What cannot work together with the rest of the experiment, one sentence each."""
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
    backbone: Any
    """The settings class that a `backbone` YAML names: builds the network for a task source."""
    resolved: str
    """The composed configuration with every interpolation resolved, as YAML text."""
    command: str
    """The command line that repeats the run."""
