"""Where the jobs of a sweep are, for the process that started it."""

from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepFolder(Callback):
    """Notes the folder when a sweep starts, whose jobs may run elsewhere; see conf/config.yaml."""

    noted: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        SweepFolder.noted = Path(config.hydra.sweep.dir)
