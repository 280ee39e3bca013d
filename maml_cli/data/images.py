"""Few-shot classification episodes from images that lie in memory as bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maml_cli.core.objective import CLASSIFICATION
from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Episode, Split
from maml_cli.data.sampler import episode_words, image_indices, words_per_episode

QUARTER_TURNS = 4

Rotations = Literal["episode", "classes", "none"]
"""`episode`: each class of an episode is turned by a k * 90 degrees of its own; `classes`: a class
turned by k * 90 degrees is one of four classes; `none`: images stay as they are."""


@dataclass(frozen=True, kw_only=True)
class ImagePool:
    """The images of a split: `(turns * classes, images_per_class, channels, height, width)` uint8.

    Where episodes turn their classes, `turns` is 4 and row `k * classes + c` is class c turned by
    k * 90 degrees.
    """

    images: Tensor
    turns: int = 1

    @property
    def split(self) -> Split:
        """How many classes an episode has to choose from, and images in each."""
        return Split(len(self.images) // self.turns, self.images.shape[1])


def image_pool(images: NDArray[np.uint8], device: torch.device, rotations: Rotations) -> ImagePool:
    """The images on the device, with counter-clockwise turned copies where rotations need them.

    Turning once here takes four times the bytes, and no time when episodes are drawn.
    """
    tensor = torch.from_numpy(images).to(device)
    if rotations == "none":
        return ImagePool(images=tensor)
    turned = torch.cat([tensor.rot90(k, dims=(-2, -1)) for k in range(QUARTER_TURNS)])
    return ImagePool(images=turned, turns=QUARTER_TURNS if rotations == "episode" else 1)


def shortfalls(name: str, splits: Mapping[str, Split], run: RunSettings) -> list[str]:
    """What an episode needs and splits of the data set `name` lack; empty where all have enough."""
    needed = run.shots + run.queries
    classes = {split: has.classes for split, has in splits.items() if has.classes < run.ways}
    images = {
        split: has.images_per_class
        for split, has in splits.items()
        if has.images_per_class < needed
    }
    messages = []
    if classes:
        messages.append(
            f"ways={run.ways} needs {run.ways} classes, "
            f"but {_amounts(name, classes, len(splits))}: "
            f"lower ways to at most {min(classes.values())}."
        )
    if images:
        messages.append(
            f"shots={run.shots} + queries={run.queries} needs {needed} images per class, "
            f"but {_amounts(name, images, len(splits))}: lower one of them."
        )
    return messages


def _amounts(name: str, by_split: Mapping[str, int], splits: int) -> str:
    if len(by_split) == splits and len(set(by_split.values())) == 1:
        return f"{name} has {min(by_split.values())}"
    return " and ".join(f'split "{split}" of {name} has {n}' for split, n in by_split.items())


class ImageTasks:
    """An endless supply of episodes: `ways` classes, `shots` support and `queries` query images.

    A pixel's byte b becomes the number `scale * b + shift`, per channel.
    """

    objective = CLASSIFICATION
    remarks: tuple[str, ...] = ()

    def __init__(
        self,
        pools: Mapping[str, ImagePool],
        run: RunSettings,
        *,
        scale: Sequence[float],
        shift: Sequence[float],
    ) -> None:
        self._pools, self._seed = pools, run.seed
        self._ways, self._shots, self._queries = run.ways, run.shots, run.queries
        images = next(iter(pools.values())).images
        self.input_shape = tuple(images.shape[2:])
        self.output_size = run.ways
        self._device = images.device
        self._scale = torch.tensor(scale, device=self._device).view(-1, 1, 1)
        self._shift = torch.tensor(shift, device=self._device).view(-1, 1, 1)
        labels = torch.arange(run.ways, device=self._device)
        self._support_y = labels.repeat_interleave(run.shots)
        self._query_y = labels.repeat_interleave(run.queries)

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Episodes start to start+count-1 of the split, with a leading dimension of `count`."""
        pool = self._pools[split]
        size = words_per_episode(pool.split, self._ways)
        rows = image_indices(
            episode_words(self._seed, split, start, count, size),
            pool.split,
            ways=self._ways,
            shots=self._shots,
            queries=self._queries,
            turns=pool.turns,
        )
        index = torch.from_numpy(np.concatenate(rows, axis=1)).to(self._device)
        pixels = pool.images.flatten(0, 1)[index].float().mul_(self._scale).add_(self._shift)
        supports = self._ways * self._shots
        return Episode(
            support_x=pixels[:, :supports],
            support_y=self._support_y.expand(count, -1),
            query_x=pixels[:, supports:],
            query_y=self._query_y.expand(count, -1),
        )

    def curve_episodes(self, count: int) -> None:
        """None: there is no curve to draw over images."""
