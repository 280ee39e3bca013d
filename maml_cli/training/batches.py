"""The training episodes, batch by batch; small batches are drawn several at a time."""

from maml_cli.core.types import Episode, TaskSource

NUMBERS_TOGETHER = 2**15
"""In the fields of the episodes that are drawn at once: some 150 KB."""


class Batches:
    """Batch n of a source has its training episodes n * `tasks` to (n + 1) * `tasks` - 1.

    Batches of curves are small. Thirty of them, drawn at once, take as long as four drawn one by
    one. The episodes are the same.
    """

    def __init__(self, source: TaskSource, tasks: int) -> None:
        self._source, self._tasks = source, tasks
        self._together = 0
        """How many batches are drawn at once; 0: not known yet."""
        self._first = -1
        self._drawn: Episode | None = None

    def at(self, number: int) -> Episode:
        """The episodes of one batch, on the source's device."""
        if self._together == 0:
            batch = self._batches(number, 1)
            size = sum(field.numel() for field in batch)
            self._together = max(1, NUMBERS_TOGETHER // size)
            return batch
        if self._together == 1:
            return self._batches(number, 1)
        place = number % self._together
        first = number - place
        if self._drawn is None or first != self._first:
            self._drawn, self._first = self._batches(first, self._together), first
        rows = slice(place * self._tasks, (place + 1) * self._tasks)
        return Episode(*(field[rows] for field in self._drawn))

    def _batches(self, first: int, count: int) -> Episode:
        return self._source.episodes("train", first * self._tasks, count * self._tasks)
