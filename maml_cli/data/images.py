"""Few-shot classification episodes from images that lie in memory as bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maml_cli.core.objective import CLASSIFICATION
from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Episode, Split
from maml_cli.data.sampler import Rotations, episode_words, image_indices, words_per_episode

QUARTER_TURNS = 4


@dataclass(frozen=True, kw_only=True)
class ImagePool:
    """The images of one split: `(classes, images_per_class, channels, height, width)` uint8.

    With `turns` = 4 each class of an episode is also turned by one of four quarter turns; the images
    then hold every class four times, class c turned by k * 90 degrees in row `k * classes / 4 + c`.
    """

    images: Tensor
    turns: int = 1

    @property
    def split(self) -> Split:
        """How many classes an episode has to choose from, and images in each."""
        return Split(len(self.images) // self.turns, self.images.shape[1])


def image_pool(images: NDArray[np.uint8], device: torch.device, rotations: Rotations) -> ImagePool:
    """The images on the device, and turned counter-clockwise by each k * 90 degrees where asked for.

    Turned copies are made here once: four bytes for one, and no work when episodes are drawn.
    """
    tensor = torch.from_numpy(images).to(device)
    if rotations == "none":
        return ImagePool(images=tensor)
    turned = torch.cat([tensor.rot90(k, dims=(-2, -1)) for k in range(QUARTER_TURNS)])
    return ImagePool(images=turned, turns=QUARTER_TURNS if rotations == "episode" else 1)


def shortfalls(name: str, splits: Mapping[str, Split], run: RunSettings) -> list[str]:
    """What an episode needs and the splits of data set `name` lack; empty if every split has enough."""
    per_class = run.shots + run.queries
    few_classes = {s: split.classes for s, split in splits.items() if split.classes < run.ways}
    few_images = {
        s: split.images_per_class
        for s, split in splits.items()
        if split.images_per_class < per_class
    }
    messages = []
    if few_classes:
        messages.append(
            f"ways={run.ways} needs {run.ways} classes, but {name} has {_listed(few_classes)}: "
            f"lower ways to at most {min(few_classes.values())}."
        )
    if few_images:
        messages.append(
            f"shots={run.shots} + queries={run.queries} needs {per_class} images per class, "
            f"but {name} has {_listed(few_images)}: lower one of them."
        )
    return messages


def _listed(amounts: Mapping[str, int]) -> str:
    return " and ".join(f'{amount} in split "{split}"' for split, amount in amounts.items())


class ImageTasks:
    """An endless supply of episodes: `ways` classes, `shots` support and `queries` query images each.

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
        support_x, query_x = pixels.split([rows.support.shape[1], rows.query.shape[1]], dim=1)
        return Episode(
            support_x=support_x,
            support_y=self._support_y.expand(count, -1),
            query_x=query_x,
            query_y=self._query_y.expand(count, -1),
        )

    def curve_episodes(self, count: int) -> None:
        """None: there is no curve to draw over images."""
