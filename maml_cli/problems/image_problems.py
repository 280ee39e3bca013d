"""Problems of fitting a network to images: loss of a random minibatch, from a random start."""

import hashlib
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from maml_cli.core import likelihood, noise
from maml_cli.core.network import Network
from maml_cli.core.norms import Norm
from maml_cli.core.objective import to_minimise
from maml_cli.core.precision import widest
from maml_cli.core.types import Episode, Tensors
from maml_cli.data.images import ImagePool
from maml_cli.data.sampler import Indices, choose, episode_keys, episode_words

CLASSES = 10

Start = Literal["small", "usual"]
"""`small`: everything normal with deviation 0.01, as in the official code; `usual`: uniform in
+-1/sqrt(inputs) of a layer, as torch's layers start."""


class Pictures(NamedTuple):
    """The images of each split, with at least ten classes, and what a reader must know of them."""

    pools: Mapping[str, ImagePool]
    remarks: tuple[str, ...]


class OfNumbers(Network):
    """A network whose inputs are the numbers of images in a store, which need not be copied."""

    def __init__(self, network: Network, images: Tensor) -> None:
        self._network, self._images = network, images
        self.input_shape = ()
        self.feature_shape, self.norms = network.feature_shape, network.norms
        self.convolutional, self.remarks = network.convolutional, network.remarks

    def init(self, generator: Generator) -> dict[str, Tensor]:
        return self._network.init(generator)

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        return self._network.init_head(outputs, generator)

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        pixels = self._images[x].to(params["head.weight"].dtype) / 255
        return self._network.features(params, pixels, norm)


class ImageProblems:
    """An endless supply: a network is fitted to ten classes by minibatches of random images.

    `support_x` are the numbers of a problem's images, `support_y` their labels. Where a split has
    more than ten classes, each problem has ten of its own. Pixels are from 0 to 1.
    """

    objective = to_minimise(F.cross_entropy, likelihood.CLASSES)
    output_size = CLASSES
    train_classes = CLASSES

    def __init__(
        self,
        pictures: Pictures,
        network: Network,
        *,
        seed: int,
        device: torch.device,
        batch: int,
        start: Start,
        remarks: tuple[str, ...],
    ) -> None:
        pools = pictures.pools
        images = torch.cat([pool.images for pool in pools.values()])
        self.network = OfNumbers(network, images)
        self.checksum = hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest()
        """SHA-256 of all images as bytes."""
        self.input_shape, self.batch = self.network.input_shape, batch
        self.remarks = (*remarks, *pictures.remarks)
        self._seed, self._device, self._kind = seed, device, start
        self._pools, self._first, first = pools, {}, 0
        for split, pool in pools.items():
            self._first[split] = first
            first += len(pool.images)
        generator = Generator().manual_seed(0)
        fresh = network.init(generator) | network.init_head(CLASSES, generator)
        self._shapes = {name: tensor.shape for name, tensor in fresh.items()}

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Problems start to start+count-1 of the split."""
        keys = torch.from_numpy(episode_keys(self._seed, split, start, count))
        classes = self._chosen(split, start, count)
        rows, labels = self._rows(split, classes)
        x, y = (torch.from_numpy(a).expand(count, -1).to(self._device) for a in (rows, labels))
        return Episode(
            x, y, query_x=x[:, :1], query_y=y[:, :1], classes=torch.from_numpy(classes), key=keys
        )

    def _chosen(self, split: str, start: int, count: int) -> Indices:
        """The ten classes of each problem, `(count, 10)`, in order where there are just ten."""
        number = len(self._pools[split].classes.counts)
        if number == CLASSES:
            return np.tile(np.arange(CLASSES), (count, 1))
        return choose(episode_words(self._seed, split, start, count, number), CLASSES)

    def _rows(self, split: str, classes: Indices) -> tuple[Indices, Indices]:
        """Image numbers and labels: `(1 or count, images)` and `(images,)`."""
        starts, counts = self._pools[split].classes
        if len(counts) == CLASSES:
            own = counts
            classes = classes[:1]
        else:
            own = np.full(CLASSES, counts.min())
        labels = np.repeat(np.arange(CLASSES), own)
        within = np.concatenate([np.arange(n) for n in own])
        return self._first[split] + starts[classes[:, labels]] + within, labels

    def start(self, key: Tensor) -> Tensors:
        """Fresh parameters; gains of batch norms are not among them."""
        return {name: self._drawn(key, name, shape) for name, shape in self._shapes.items()}

    def _drawn(self, key: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
        if self._kind == "small":
            return 0.01 * noise.normal(key, name, shape)
        weight = self._shapes.get(f"{name.rpartition('.')[0]}.weight")
        if weight is None:  # the bias of a batch norm without a gain
            return torch.zeros(shape, dtype=widest(key.device), device=key.device)
        bound = weight[1:].numel() ** -0.5
        drawn: Tensor = bound * (2 * noise.uniform(key, name, shape) - 1)
        return drawn

    def curve_episodes(self, count: int) -> None:
        """There are no curves to fit."""
