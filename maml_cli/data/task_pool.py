"""Training on a fixed number of tasks instead of an endless supply."""

from collections.abc import Iterator

import torch

from maml_cli.core.types import Episode, TaskSource
from maml_cli.data.sampler import episode_keys


def training_source(source: TaskSource, task_pool: int | None, seed: int) -> TaskSource:
    """The source to train on: itself where `task_pool` is None, else its first training tasks."""
    return source if task_pool is None else TaskPool(source, task_pool, seed)


class TaskPool:
    """A source whose training episodes come from its first `size` training tasks, in turn.

    Training episode i has the support set, queries and classes of episode i mod `size`, but its own
    key, so that noise within a task differs at each visit. The other splits stay as they are.
    `seed` is the one that the source draws its episodes with.
    """

    def __init__(self, source: TaskSource, size: int, seed: int) -> None:
        self._source, self._size, self._seed = source, size, seed
        self.objective = source.objective
        self.input_shape = source.input_shape
        self.output_size = source.output_size
        self.train_classes = source.train_classes
        self.remarks = source.remarks

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Episodes start to start+count-1 of the split, batched, on the source's device."""
        if split != "train":
            return self._source.episodes(split, start, count)
        parts = [
            self._source.episodes(split, first, length)
            for first, length in runs_of(start, count, self._size)
        ]
        batch = Episode(*(torch.cat(fields) for fields in zip(*parts, strict=True)))
        keys = torch.from_numpy(episode_keys(self._seed, split, start, count))
        return batch._replace(key=keys.to(batch.key.device))

    def curve_episodes(self, count: int) -> Episode | None:
        """The source's own, which are test episodes."""
        return self._source.curve_episodes(count)


def runs_of(start: int, count: int, size: int) -> Iterator[tuple[int, int]]:
    """The numbers start to start+count-1, modulo `size`, as runs: (first number, length).

    With size 5, the numbers 3 to 6 are 3, 4, 0, 1, which are the runs (3, 2) and (0, 2).
    """
    end = start + count
    while start < end:
        first = start % size
        length = min(size - first, end - start)
        yield first, length
        start += length
