"""MLflow: a store in the folder of the run, without a server."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from maml_cli.core.errors import CheckpointError
from maml_cli.core.records import Curves, RunInfo
from maml_cli.core.results import RunResults
from maml_cli.core.types import Episode
from maml_cli.reporting.logger import EPISODE, Logger, Point, episode_png
from maml_cli.storage.files import storing, write_atomically
from maml_cli.storage.run_folder import RunFolder

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
"""Where `mlflow ui` looks for them if it is started in their folder."""
PROXIED = "mlflow-artifacts:/"
"""The place of files relative to `ARTIFACTS`, so that a run may be moved."""
TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""So that the page shows a training, and not a chat."""
METRICS_AT_ONCE, PARAMETERS_AT_ONCE = 1000, 100
"""MLflow's limits."""
_RUN = re.compile(r"[0-9a-f]{32}")
_NOT_IN_KEYS = re.compile(r"[^\w\-. :/]", re.ASCII)

T = TypeVar("T")


class MlflowStore(Logger):
    """Writes `mlflow/`: one run of MLflow, which a resumed run goes on with."""

    def __init__(self) -> None:
        super().__init__()
        self._client: Any = None

    def start(self, info: RunInfo, preview: Episode | None) -> None:
        super().start(info, preview)
        self._folder = RunFolder(info.output_dir).mlflow
        with self._storing():
            self._folder.mkdir(exist_ok=True)
            self._client = _client(self._folder / DATABASE)
            self._run, is_new = self._begun()
            self._client.update_run(self._run, status="RUNNING")
            if is_new:
                self._describe()
        if is_new and (png := episode_png(preview)) is not None:
            self._keep(f"{EPISODE}.png", png)

    def write(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = (
            Metric(_key(name), value, round(point.seconds * 1000), point.step)
            for point in points
            for name, value in point.scalars.items()
        )
        with self._storing():
            for some in _batches(metrics, METRICS_AT_ONCE):
                self._client.log_batch(self._run, metrics=some)

    def finish(self, results: RunResults, curves: Curves | None) -> None:
        super().finish(results, curves)
        files = RunFolder(self.info.output_dir)
        for path in (files.config, files.table, files.results, *files.pictures):
            if path.is_file():
                self._keep(path.name, path.read_bytes())
        with self._storing():
            self._client.set_terminated(self._run, "FINISHED")
        self._client = None

    def close(self) -> None:
        if self._client is not None:  # not finished
            self.flush()
            with self._storing():
                self._client.set_terminated(self._run, "KILLED")

    def _begun(self) -> tuple[str, bool]:
        """The run of the store, and whether it is new; raises CheckpointError."""
        protocol = self.info.protocol
        experiment = self._client.get_experiment_by_name(protocol.dataset)
        if experiment is None:
            number = self._client.create_experiment(
                protocol.dataset, artifact_location=PROXIED, tags=TRAINING
            )
        else:
            number = experiment.experiment_id
            for run in self._client.search_runs([number]):
                name = run.info.run_id
                if not _RUN.fullmatch(name):  # it names a folder
                    raise CheckpointError(f"{self._folder}: its run is called {name!r}")
                return name, False
        return self._client.create_run(number, run_name=protocol.title).info.run_id, True

    def _describe(self) -> None:
        from mlflow.entities import Param

        settings = (Param(_key(k), str(v)) for k, v in self.info.hparams.items())
        for some in _batches(settings, PARAMETERS_AT_ONCE):
            self._client.log_batch(self._run, params=some)
        self._client.set_tag(self._run, "command", self.info.protocol.command)

    def _keep(self, name: str, content: bytes) -> None:
        write_atomically(self._folder / ARTIFACTS / self._run / "artifacts" / name, content)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Turn what MLflow and its database say of the disk into a StorageError."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        with storing(self._folder):
            try:
                yield
            except (MlflowException, SQLAlchemyError) as error:
                raise OSError(str(error).splitlines()[0]) from error


def _client(database: Path) -> Any:
    """A client of the store; sends nothing anywhere."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read at the import
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table that it makes
    return MlflowClient(f"sqlite:///{database.absolute()}")


def _key(name: str) -> str:
    """The name with the letters that MLflow takes."""
    return _NOT_IN_KEYS.sub("_", name)


def _batches(values: Iterator[T], size: int) -> Iterator[list[T]]:
    while some := list(islice(values, size)):
        yield some
