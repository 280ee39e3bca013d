"""Few-shot classification episodes from images that lie in memory as bytes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maml_cli.core.objective import CLASSIFICATION
from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Episode, Split
from maml_cli.data.augment import Augmentation
from maml_cli.data.record import DataRecord
from maml_cli.data.sampler import (
    Classes,
    ImageIndices,
    Indices,
    episode_keys,
    episode_words,
    image_indices,
    words_per_episode,
)

QUARTER_TURNS = 4
TURNED = ("", *(f" turned by {90 * k} degrees" for k in range(1, QUARTER_TURNS)))

Rotations = Literal["episode", "classes", "none"]
"""`episode`: each class of an episode is turned by a k * 90 degrees of its own; `classes`: a class
turned by k * 90 degrees is one of four classes; `none`: images stay as they are."""


@dataclass(frozen=True, kw_only=True)
class ImagePool:
    """The images of a split, and which of them are of one class.

    `images` is `(rows, channels, height, width)` uint8, of which other splits may use other rows.
    Where episodes turn their classes, `turns` is 4, and the images turned by k * 90 degrees follow
    the others k * rows / 4 rows later.
    """

    images: Tensor
    classes: Classes
    turns: int = 1
    labels: Sequence[str] = ()
    """The name of each class; empty: the classes have no names."""
    file: Callable[[int], str] | None = None
    """Names the file of a row; None: the images come from no files."""


def image_pool(
    images: NDArray[np.uint8],
    device: torch.device,
    rotations: Rotations,
    labels: Sequence[str] = (),
    file: Callable[[int, int], str] | None = None,
) -> ImagePool:
    """The pool of `(classes, images_per_class, channels, height, width)`, on the device.

    `labels` names the classes, and `file(c, i)` the file of image i of class c. Turned copies are
    made, counter-clockwise, where rotations need them: turning once here takes four times the
    bytes, and no time when episodes are drawn.
    """
    number, per_class = images.shape[:2]
    tensor = torch.from_numpy(images).to(device)
    if rotations != "none":
        tensor = torch.cat([tensor.rot90(k, dims=(-2, -1)) for k in range(QUARTER_TURNS)])
    turns = QUARTER_TURNS if rotations == "episode" else 1
    if rotations == "classes":
        labels = [f"{name}{turn}" for turn in TURNED for name in labels]
    return ImagePool(
        images=tensor.flatten(0, 1),
        classes=consecutive(np.full(len(tensor) // turns, per_class, np.int64)),
        turns=turns,
        labels=labels,
        file=file and (lambda row: file(*divmod(row % (number * per_class), per_class))),
    )


def consecutive(counts: Indices) -> Classes:
    """Classes with so many images, one after the other from row 0 on."""
    return Classes(np.cumsum(counts) - counts, counts)


def shortfalls(name: str, splits: Mapping[str, Split], run: RunSettings) -> list[str]:
    """What an episode needs and splits of the data set `name` lack; empty where all have enough."""
    needed = {split: run.shots_in(split) + run.queries_in(split) for split in splits}
    images = {
        split: has.images_per_class
        for split, has in splits.items()
        if has.images_per_class < needed[split]
    }
    messages = []
    messages += [
        f"{key}=1: with one class there is nothing to tell apart; set {key} to at least 2"
        for key, ways in (("ways", run.ways), ("train_ways", run.train_ways))
        if ways == 1
    ]
    for key, ways in (("ways", run.ways), ("train_ways", run.train_ways)):
        classes = {
            split: has.classes
            for split, has in splits.items()
            if _ways_key(run, split) == key and has.classes < run.ways_in(split)
        }
        if classes:
            most = min(classes.values())
            way_out = f"lower {key} to at most {most}" if most > 1 else "add classes"
            messages.append(
                f"{key}={ways} needs {ways} classes, "
                f"but {_amounts(name, classes, len(splits))}: {way_out}."
            )
    if images:
        asked = [
            f"shots={run.shots} + queries={run.queries}",
            *([f"train_shots={run.train_shots}"] if run.train_shots else []),
            *([f"train_queries={run.train_queries}"] if run.train_queries else []),
        ]
        messages.append(
            f"{' and '.join(asked)} needs {max(needed[split] for split in images)} images per "
            f"class, but {_amounts(name, images, len(splits))}: lower one of them."
        )
    return messages


def _ways_key(run: RunSettings, split: str) -> str:
    """The key that sets the ways of a split."""
    return "train_ways" if split == "train" and run.train_ways else "ways"


def _amounts(name: str, by_split: Mapping[str, int], splits: int) -> str:
    if len(by_split) == splits and len(set(by_split.values())) == 1:
        return f"{name} has {min(by_split.values())}"
    return " and ".join(f'split "{split}" of {name} has {n}' for split, n in by_split.items())


class ImageTasks:
    """An endless supply of episodes: `ways` classes, `shots` support and `queries` query images.

    Training episodes have `train_ways`, `train_shots` and `train_queries` of them, where those are
    set. Their images are changed by `augmentation`. A pixel's byte b becomes the number
    `scale * b + shift`, per channel.
    """

    objective = CLASSIFICATION

    def __init__(
        self,
        pools: Mapping[str, ImagePool],
        run: RunSettings,
        *,
        scale: Sequence[float],
        shift: Sequence[float],
        checksum: str,
        record: DataRecord | None = None,
        remarks: tuple[str, ...] = (),
        augmentation: Augmentation | None = None,
    ) -> None:
        self.checksum = checksum
        """SHA-256 of all images as bytes."""
        self.remarks = (*remarks, augmentation.remark) if augmentation else remarks
        self._augmentation = augmentation
        self.splits = tuple(pools)
        """Those that there are; a test may need no other."""
        self.pools, self._seed = pools, run.seed
        self._ways_in = run.ways_in
        self._shots_in, self._queries_in = run.shots_in, run.queries_in
        images = next(iter(pools.values())).images
        self.input_shape = tuple(images.shape[1:])
        self.output_size = run.ways
        self.train_classes = 0
        if "train" in pools:
            self.train_classes = len(pools["train"].classes.counts)
        elif record is not None:
            self.train_classes = record.train_classes
        self.record = record and replace(record, train_classes=self.train_classes)
        """What a run keeps of these data."""
        self._device = images.device
        self._scale = torch.tensor(scale, device=self._device).view(-1, 1, 1)
        self._shift = torch.tensor(shift, device=self._device).view(-1, 1, 1)
        most = max(run.ways_in(split) for split in pools)
        self._labels = torch.arange(most, device=self._device)

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Episodes start to start+count-1 of the split, with a leading dimension of `count`."""
        episode = self.raw_episodes(split, start, count)
        return episode._replace(
            support_x=episode.support_x.float().mul_(self._scale).add_(self._shift),
            query_x=episode.query_x.float().mul_(self._scale).add_(self._shift),
        )

    def visible_episodes(self, split: str, start: int, count: int) -> Episode:
        """The same, with pixels from 0 to 1 as the network sees them: nothing is stretched."""
        episode = self.raw_episodes(split, start, count)
        low = (self._scale < 0).float()  # such a network sees white strokes on black
        sign = 1 - 2 * low
        return episode._replace(
            support_x=episode.support_x / 255 * sign + low,
            query_x=episode.query_x / 255 * sign + low,
        )

    def raw_episodes(self, split: str, start: int, count: int) -> Episode:
        """The same, with pixels as bytes."""
        pool, rows = self.pools[split], self._rows(split, start, count)
        support, query, classes = (torch.from_numpy(r).to(self._device) for r in rows)
        keys = torch.from_numpy(episode_keys(self._seed, split, start, count))
        support_x, query_x = pool.images[support], pool.images[query]
        if self._augmentation and split == "train":
            support_x = self._augmentation(support_x, keys, "support")
            query_x = self._augmentation(query_x, keys, "query")
        shots, queries = self._shots_in(split), self._queries_in(split)
        labels = self._labels[: self._ways_in(split)]
        return Episode(
            support_x=support_x,
            support_y=labels.repeat_interleave(shots).expand(count, -1),
            query_x=query_x,
            query_y=labels.repeat_interleave(queries).expand(count, -1),
            classes=classes,
            key=keys.to(self._device),
        )

    def _rows(self, split: str, start: int, count: int) -> ImageIndices:
        """Which rows of the split's pool the episodes consist of."""
        pool, ways = self.pools[split], self._ways_in(split)
        size = words_per_episode(pool.classes, ways)
        return image_indices(
            episode_words(self._seed, split, start, count, size),
            pool.classes,
            ways=ways,
            shots=self._shots_in(split),
            queries=self._queries_in(split),
            turns=pool.turns,
            turn_stride=len(pool.images) // pool.turns,
        )

    def class_names(self, split: str) -> Sequence[str]:
        """The name of each class of the split, by its number; empty if they have none."""
        return self.pools[split].labels

    def query_files(self, split: str, start: int, count: int) -> list[list[str]] | None:
        """The files of the queries of these episodes; None if the images come from no files."""
        file = self.pools[split].file
        if file is None:
            return None
        return [
            [file(row) for row in rows] for rows in self._rows(split, start, count).query.tolist()
        ]

    def curve_episodes(self, count: int) -> None:
        """None: there is no curve to draw over images."""
