"""Episodes of regression from tasks whose points are given."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from maml_cli.core.objective import REGRESSION
from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Episode
from maml_cli.data.columns import Columns, seen
from maml_cli.data.point_rows import TaskPoints
from maml_cli.data.record import DataRecord
from maml_cli.data.sampler import (
    Classes,
    ImageIndices,
    episode_keys,
    episode_words,
    image_indices,
    words_per_episode,
)

_GRID_POINTS = 201


class PointTasks:
    """An endless supply of episodes: a task, drawn with equal probability, and some of its points.

    They are drawn without replacement, `shots` for the support set and `queries` for the queries.
    """

    objective = REGRESSION
    train_classes = 1

    def __init__(
        self,
        splits: Mapping[str, Sequence[TaskPoints]],
        run: RunSettings,
        device: torch.device,
        *,
        columns: Columns,
        record: DataRecord,
        remarks: tuple[str, ...],
    ) -> None:
        self._splits, self._run, self._device = splits, run, device
        self.splits = tuple(splits)
        """Those that there are; a test may need no other."""
        self.input_shape = (len(columns.inputs),)
        self.output_size = len(columns.outputs)
        self.columns, self.record, self.remarks = columns, record, remarks
        tasks = [task for members in splits.values() for task in members]
        self._points = seen(
            np.concatenate([t.points for t in tasks]), (*columns.inputs, *columns.outputs)
        )
        numbers = np.array([len(task.points) for task in tasks], np.int64)
        starts = np.cumsum(numbers) - numbers
        ends = np.cumsum([len(members) for members in splits.values()])[:-1]
        parts = zip(np.split(starts, ends), np.split(numbers, ends), strict=True)
        self._rows = {split: Classes(*part) for split, part in zip(splits, parts, strict=True)}
        self._tensor = torch.from_numpy(self._points.astype(np.float32)).to(device)

    @property
    def axes(self) -> tuple[str, str]:
        """What to write beside the axes of a curve."""
        said = ", standardised" if self.columns.standardised else ""
        return f"{self.columns.inputs[0].name}{said}", f"{self.columns.outputs[0].name}{said}"

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Episodes start to start+count-1 of the split; fields are `(count, points, columns)`."""
        rows = self._drawn(split, start, count)
        support, query = (self._tensor[torch.from_numpy(r)] for r in (rows.support, rows.query))
        keys = torch.from_numpy(episode_keys(self._run.seed, split, start, count))
        inputs = len(self.columns.inputs)
        return Episode(
            support_x=support[..., :inputs],
            support_y=support[..., inputs:],
            query_x=query[..., :inputs],
            query_y=query[..., inputs:],
            classes=torch.zeros(count, 1, dtype=torch.int64, device=self._device),
            key=keys.to(self._device),
        )

    def curve_episodes(self, count: int) -> Episode | None:
        """Test episodes 0 to count-1 with queries on a grid over each task's own points.

        Between the points, the truth is a line from one to the next. None unless there is one input
        and one output.
        """
        if self._points.shape[1] > 2 or "test" not in self.splits:
            return None
        episodes = self.episodes("test", 0, count)
        drawn = self._drawn("test", 0, count).classes[:, 0]
        starts, counts = (numbers[drawn] for numbers in self._rows["test"])
        curves = [self._points[s : s + n].T for s, n in zip(starts, counts, strict=True)]
        grids = [np.linspace(x[0], x[-1], _GRID_POINTS) for x, _ in curves]
        truths = [np.interp(g, *curve) for g, curve in zip(grids, curves, strict=True)]
        query_x, query_y = (
            torch.from_numpy(np.stack(part).astype(np.float32)).unsqueeze(-1).to(self._device)
            for part in (grids, truths)
        )
        return episodes._replace(query_x=query_x, query_y=query_y)

    def _drawn(self, split: str, start: int, count: int) -> ImageIndices:
        """Rows of the points, and the task of each episode as the class of a 1-way episode."""
        rows = self._rows[split]
        size = words_per_episode(rows, ways=1)
        return image_indices(
            episode_words(self._run.seed, split, start, count, size),
            rows,
            ways=1,
            shots=self._run.shots_in(split),
            queries=self._run.queries_in(split),
        )
