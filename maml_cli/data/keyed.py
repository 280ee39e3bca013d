"""Keys for the episodes of a source that leaves them out."""

from typing import Any

import torch

from maml_cli.core.types import Episode, TaskSource
from maml_cli.data.sampler import episode_keys


def keyed(source: TaskSource, seed: int) -> TaskSource:
    """The source itself, or with the keys of the seed where its episodes have none."""
    return source if source.episodes("train", 0, 1).key.numel() else Keyed(source, seed)


class Keyed:
    """A source whose episodes have the keys that `data/sampler.py` draws; all else is its own."""

    objective: Any
    input_shape: Any
    output_size: Any
    train_classes: Any
    remarks: Any

    def __init__(self, source: TaskSource, seed: int) -> None:
        self._source, self._seed = source, seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Episodes start to start+count-1 of the split, batched, on the source's device."""
        return self._with_keys(self._source.episodes(split, start, count), split, start)

    def curve_episodes(self, count: int) -> Episode | None:
        """The source's own."""
        found = self._source.curve_episodes(count)
        return None if found is None else self._with_keys(found, "test", 0)

    def _with_keys(self, episodes: Episode, split: str, start: int) -> Episode:
        keys = torch.from_numpy(episode_keys(self._seed, split, start, len(episodes.support_x)))
        return episodes._replace(key=keys.to(episodes.support_x.device))
