"""Weights & Biases, offline: `wandb sync` uploads a run if its owner wants that."""

import os
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image

from maml_cli.core.records import Curves, RunInfo
from maml_cli.core.results import RunResults
from maml_cli.core.types import Episode
from maml_cli.reporting.logger import EPISODE, Logger, Point, episode_png
from maml_cli.storage.files import storing
from maml_cli.storage.run_folder import RunFolder

PROJECT = "maml-train"
STEP = "step"
"""The name of what scalars are drawn over."""
OFFLINE = "offline-run-"


class WandbRun(Logger):
    """Writes `wandb/`: a folder for each start of the run, all with the same run's number."""

    def __init__(self) -> None:
        super().__init__()
        self._run: Any = None

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        super().start(info, preview)
        os.environ["WANDB_ERROR_REPORTING"] = "false"  # read at the import: nothing is sent
        import wandb

        with storing(RunFolder(info.output_dir).wandb):
            number = self._begun()
            self._run = wandb.init(
                project=PROJECT,
                id=number,
                name=info.protocol.title,
                notes=info.protocol.command,
                dir=str(info.output_dir),
                config=dict(info.hparams),
                settings=wandb.Settings(
                    mode="offline",
                    console="off",
                    silent=True,
                    disable_git=True,
                    disable_code=True,
                    save_code=False,
                    x_disable_stats=True,
                    x_disable_machine_info=True,
                    x_save_requirements=False,
                ),
            )
        self._run.define_metric("*", step_metric=STEP)
        if number is None and (png := episode_png(preview)) is not None:
            self._log(0, {EPISODE: wandb.Image(Image.open(BytesIO(png)))})

    def write(self, points: Sequence[Point]) -> None:
        for point in points:
            self._log(point.step, point.scalars)

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        import wandb

        super().finish(results, curves)
        pictures = RunFolder(self.info.output_dir).pictures
        made = {path.stem: wandb.Image(str(path)) for path in pictures if path.is_file()}
        self._log(results.iterations, made)
        self._end(exit_code=0)

    def close(self) -> None:
        if self._run is not None:  # not finished
            self.flush()
            self._end(exit_code=1)

    def _begun(self) -> str | None:
        """The number of the run, if it was begun before."""
        folders = RunFolder(self.info.output_dir).wandb.glob(f"{OFFLINE}*-*")
        return next((path.name.rpartition("-")[2] for path in sorted(folders)), None)

    def _log(self, step: int, values: Any) -> None:
        with storing(RunFolder(self.info.output_dir).wandb):
            self._run.log({STEP: step, **values})

    def _end(self, exit_code: int) -> None:
        import wandb

        run, self._run = self._run, None
        run.finish(exit_code=exit_code)
        wandb.teardown()  # waits until its process has written everything
