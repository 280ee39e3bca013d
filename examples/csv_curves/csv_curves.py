"""Curves to regress from a CSV file with the columns task, x and y, one row per point."""

import csv
from pathlib import Path

import numpy as np
import torch
from pydantic.dataclasses import dataclass

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.objective import REGRESSION
from maml_cli.core.settings import STRICT
from maml_cli.core.types import Episode
from maml_cli.data.sampler import SPLITS, choose, episode_keys, episode_words

SPLIT_OF = ("train", "train", "train", "val", "test")  # tasks of the file in turn


def read(path):
    """The points of each task, `(points, 2)` by ascending x; tasks in the order of the file."""
    curves = {}
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                curves.setdefault(row["task"], []).append((float(row["x"]), float(row["y"])))
    except KeyError as column:
        raise DataError(f"{path} has no column {column}: line 1 must name task, x, y.") from None
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"dataset.path={path}: {error}: name a CSV file of task,x,y.") from None
    return {task: np.array(sorted(points), np.float32) for task, points in curves.items()}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CsvCurves:
    name: str
    path: str

    def check(self, run):
        return [] if run.ways == 1 else [f"ways={run.ways}: curves have no classes: set ways=1."]

    def load(self, run, device):
        curves = read(self.path)
        if len(curves) < len(SPLIT_OF):
            raise DataError(f"{self.path} has {len(curves)} tasks, 5 are needed: add some.")
        need = max(run.shots_in(split) + run.queries_in(split) for split in SPLITS)
        if short := [task for task in curves if len(curves[task]) < need]:
            rule = f"has {len(curves[short[0]])} points, shots + queries need {need}"
            raise UsageError(f"{self.path}: task {short[0]} {rule}: lower them, or add points.")
        return CsvTasks(list(curves.values()), run, device)


class CsvTasks:
    objective, input_shape, output_size, train_classes, remarks = REGRESSION, (1,), 1, 1, ()

    def __init__(self, tasks, run, device):
        of = {s: [t for i, t in enumerate(tasks) if SPLIT_OF[i % 5] == s] for s in SPLITS}
        self.tasks, self.run, self.device = of, run, device

    def episodes(self, split, start, count, grid=None):
        seed, tasks, shots = self.run.seed, self.tasks[split], self.run.shots_in(split)
        sizes = np.array([len(points) for points in tasks])
        words = episode_words(seed, split, start, count, 1 + int(sizes.max()))
        own = (words[:, 0] % np.uint64(len(tasks))).astype(np.int64)  # the task of each episode
        rows = choose(words[:, 1:], shots + self.run.queries_in(split), below=sizes[own])
        drawn = np.stack([tasks[t][r] for t, r in zip(own, rows, strict=True)])
        support, query = drawn[:, :shots], drawn[:, shots:]
        if grid is not None:  # between the points, a curve is drawn as a line
            query = np.stack([np.c_[grid, np.interp(grid, *tasks[t].T)] for t in own])
        xy = [part[..., [axis]].astype(np.float32) for part in (support, query) for axis in (0, 1)]
        fields = (*xy, np.zeros((count, 1), np.int64), episode_keys(seed, split, start, count))
        return Episode(*(torch.from_numpy(field).to(self.device) for field in fields))

    def curve_episodes(self, count):
        x = np.concatenate(self.tasks["test"])[:, 0]
        return self.episodes("test", 0, count, grid=np.linspace(x.min(), x.max(), 101))
