"""The files of a run: their names have their home here, and nowhere else."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RESULTS, CONFIG, TABLE = "results.json", "config.yaml", "table.md"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, or of another test or a use of it; reads and writes nothing.

    The folder of a sweep has a table and a lock of the same names.
    """

    path: Path

    @property
    def results(self) -> Path:
        """The results as JSON, written when the run is finished."""
        return self.path / RESULTS

    @property
    def table(self) -> Path:
        """The results as a Markdown table."""
        return self.path / TABLE

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / CONFIG

    @property
    def data(self) -> Path:
        """The classes of each split, and digests of their pictures."""
        return self.path / "data.json"

    @property
    def metrics(self) -> Path:
        """The course of training and validation, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def scores(self) -> Path:
        """The test metric episode by episode."""
        return self.path / "test_scores.json"

    @property
    def curves(self) -> Path:
        """Fitted curves of a regression, as a picture."""
        return self.path / "curves.png"

    @property
    def losses(self) -> Path:
        """The losses of optimisation problems over the steps, as a picture."""
        return self.path / "losses.png"

    @property
    def reliability(self) -> Path:
        """Promised and observed frequencies, as a picture."""
        return self.path / "reliability.png"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events."""
        return self.path / "tensorboard"

    @property
    def mlflow(self) -> Path:
        """The folder of MLflow's store."""
        return self.path / "mlflow"

    @property
    def wandb(self) -> Path:
        """The folder that Weights & Biases makes in the run's."""
        return self.path / "wandb"

    @property
    def lock(self) -> Path:
        """Locked while a process writes to the folder."""
        return self.path / ".lock"

    @property
    def predictions_csv(self) -> Path:
        """Class probabilities of a user's own pictures, or of the queries of a test."""
        return self.path / "predictions.csv"

    @property
    def predictions_figure(self) -> Path:
        """The same pictures with their predicted classes."""
        return self.path / "predictions.png"

    @property
    def classes(self) -> Path:
        """The test accuracy class by class."""
        return self.path / "classes.md"

    @property
    def confusion(self) -> Path:
        """Which classes are taken for which, as a CSV file."""
        return self.path / "confusion.csv"

    @property
    def confusion_figure(self) -> Path:
        """The same as a picture."""
        return self.path / "confusion.png"

    @property
    def features(self) -> Path:
        """The features of the queries of a test, as arrays of numpy."""
        return self.path / "features.npz"

    def feature_map(self, method: str) -> Path:
        """The features of some queries in two dimensions, as a picture."""
        return self.path / f"{method}.png"

    @property
    def pictures(self) -> tuple[Path, ...]:
        """Every picture that a training may draw."""
        maps = (self.feature_map("pca"), self.feature_map("tsne"))
        return (self.curves, self.losses, self.reliability, self.confusion_figure, *maps)

    def entries(self) -> Iterator[tuple[Path, str]]:
        """Every path that the program reads or writes here, with what it must be if it is there."""
        files = (self.results, self.table, self.config, self.data, self.metrics, self.scores)
        kept = (self.predictions_csv, self.classes, self.confusion, self.features)
        notes = (self.lock, self.error_log(0))
        loggers = (self.tensorboard, self.mlflow, self.wandb)
        folders = (self.checkpoints, *loggers, self.path / "eval", self.path / "adapt")
        yield from ((path, "a file") for path in (*files, *self.pictures, *kept, *notes))
        yield from ((path, "a folder") for path in folders)
        if self.checkpoints.is_dir():
            yield from ((path, "a file") for path in self.checkpoints.glob("*.pt"))

    def error_log(self, rank: int) -> Path:
        """The traceback of a bug in the process with this rank."""
        return self.path / ("error.log" if rank == 0 else f"error-{rank}.log")

    def evaluation(self, name: str) -> Path:
        """The folder of another test of this run."""
        return self.path / "eval" / name

    def adaptation(self, name: str) -> Path:
        """The folder of a use of this run on a user's own pictures."""
        return self.path / "adapt" / name


def folder_of(results: Path) -> RunFolder | None:
    """The run folder that a results file lies in; None for a copy under another name."""
    return RunFolder(results.parent) if results.name == RESULTS else None


def results_within(place: Path) -> Iterator[Path]:
    """The results of runs in a folder, at any depth."""
    return (file for file in place.rglob(RESULTS) if not _is_copy(file))


def configs_within(place: Path) -> Iterator[Path]:
    """The configurations of runs in a folder, at any depth."""
    return (file for file in place.rglob(CONFIG) if not _is_copy(file))


def _is_copy(file: Path) -> bool:
    """Whether the file lies in the store that a logger keeps in the folder of a run."""
    runs = [RunFolder(store.parent) for store in file.parents]
    stores = {store for run in runs for store in (run.mlflow, run.wandb) if run.config.is_file()}
    return any(parent in stores for parent in file.parents)


def meant(key: str, path: Path) -> str:
    """What to write instead of `KEY=PATH` where the path is one of a run's own files or folders.

    Empty if it is none.
    """
    for folder in list(path.parents)[:2]:
        run = RunFolder(folder)
        if run.config.is_file() and run.checkpoints.is_dir():
            word = shlex.quote(f"{key}={folder}")
            return f"; it is a part of a run: write {word}, the folder of the run"
    return ""
