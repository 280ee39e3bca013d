"""Fitting a convolutional network: the network, CIFAR-10 as torchvision gives it, the stand-in."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import CPU, RUN, TRAIN, shipped

from maml_cli.core.errors import DataError
from maml_cli.core.norms import BatchStats
from maml_cli.data.images import ImagePool, consecutive
from maml_cli.problems import convnet
from maml_cli.problems.convnet import ThreeConvolutions
from maml_cli.problems.image_problems import ImageProblems, Pictures
from maml_cli.testing import ENGINES, check_algorithm, check_network
from maml_cli.testing.problems import Problem

OWN = replace(RUN, ways=1)


def test_the_network_keeps_its_contract():
    check_network(ThreeConvolutions((3, 32, 32)), (3, 32, 32))


def test_the_network_is_torchs():
    network = ThreeConvolutions((3, 16, 16))
    generator = torch.Generator().manual_seed(0)
    params = network.init(generator) | network.init_head(10, generator)
    params = {n: t.double() for n, t in params.items()}
    # 75 * 16 + 16, twice 400 * 16 + 16, 3 * 16; 64 * 32 + 32, 32 * 10 + 10
    assert sum(t.numel() for t in params.values()) == 1216 + 2 * 6416 + 48 + 2080 + 330
    params["body.1.norm.bias"] += 0.3
    x = torch.rand(5, 3, 16, 16, generator=generator).double()
    expected = x
    for i in range(3):
        conv = (params[f"body.{i}.conv.weight"], params[f"body.{i}.conv.bias"])
        expected = F.conv2d(expected, *conv, padding="same")
        bias = params[f"body.{i}.norm.bias"]
        expected = F.batch_norm(expected, None, None, None, bias, training=True, eps=1e-3)
        expected = F.max_pool2d(expected.relu(), 2)
    expected = F.linear(
        expected.flatten(1), params["body.dense.weight"], params["body.dense.bias"]
    ).relu()
    expected = F.linear(expected, params["head.weight"], params["head.bias"])
    torch.testing.assert_close(network.outputs(params, x, BatchStats()), expected)


def small():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (20, 3, 8, 8), generator=generator, dtype=torch.uint8)
    pool = ImagePool(images=images, classes=consecutive(np.full(10, 2)))
    return ImageProblems(
        Pictures(dict.fromkeys(("train", "val", "test"), pool), ()),
        ThreeConvolutions((3, 8, 8)),
        seed=0,
        device=CPU,
        batch=6,
        start="usual",
        remarks=(),
    )


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_optimisers_of_it_on_the_engines_for_convolutions():
    data = small()
    problem = Problem(network=data.network, source=data, episodes=data.episodes("train", 0, 2))
    train = replace(TRAIN, tasks_per_batch=2)
    form = shipped(
        "algo", "lstm_optimizer", inner_steps=2, unroll=2, layers=1, units=3, by_kind=True
    )
    engines = {name: ENGINES[name] for name in ("loop", "lean loop", "vmap")}
    build = partial(form.build, train=train)
    check_algorithm(build, problem, engines=engines, bn_stats=("batch",))
    learned = build(data.network, data).init(0).theta["optimizer"]
    assert {name.partition(".")[0] for name in learned} == {"kernels", "all"}


class FakeCIFAR10:
    """50,000 and 10,000 pictures of one pixel's worth: picture i has the label i mod 10."""

    def __init__(self, root, *, train, download):
        if "empty" in root:
            raise RuntimeError("Dataset not found or corrupted.")
        count = 5020 if train else 30
        self.targets = [i % 10 for i in range(count)]
        self.data = np.broadcast_to(
            np.array(self.targets, np.uint8)[:, None, None, None], (count, 2, 2, 3)
        )


def test_cifar10_as_torchvision_gives_it(monkeypatch):
    class Datasets:
        CIFAR10 = FakeCIFAR10

    monkeypatch.setattr(convnet, "import_torchvision", lambda _: Datasets)
    pictures = convnet.cifar10(replace(OWN, data_dir="somewhere"), CPU)
    sizes = {split: len(pool.images) for split, pool in pictures.pools.items()}
    assert sizes == {"train": 20, "val": 5000, "test": 30}
    for pool in pictures.pools.values():
        labels = np.repeat(np.arange(10), pool.classes.counts)
        assert pool.images.shape[1:] == (3, 2, 2)
        assert pool.images[:, 0, 0, 0].tolist() == labels.tolist()
    with pytest.raises(DataError, match="has no whole cifar-10-batches-py"):
        convnet.cifar10(replace(OWN, data_dir="empty"), CPU)
