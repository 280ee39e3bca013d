"""ResNet-12: counted by hand, and the same network as one of torch's modules."""

import math
from itertools import pairwise

import pytest
import torch
from problems import (
    FakeSource,
    at_epoch,
    double,
    evaluated,
    image_batch,
    images,
    learner,
    outputs_of,
    start,
)
from torch import nn

from maml_cli.backbones.resnet12 import ResNet12
from maml_cli.core.norms import BatchStats

WIDTHS = [64, 160, 320, 640]
SMALL = ResNet12(name="small", widths=[2, 3, 4, 5], negative_slope=0.1)


class Block(nn.Module):
    """The residual block as the paper draws it: activation, then pooling."""

    def __init__(self, channels, width):
        super().__init__()
        layers = []
        for layer in range(3):
            conv = nn.Conv2d(width if layer else channels, width, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        )
        self.end = nn.Sequential(nn.LeakyReLU(0.1), nn.MaxPool2d(2))

    def forward(self, x):
        return self.end(self.layers(x) + self.shortcut(x))


def modules(params, channels, widths, outputs):
    """Modules of torch with the same parameters, in the order of their making."""
    blocks = []
    for width in widths:
        blocks.append(Block(channels, width))
        channels = width
    network = nn.Sequential(
        *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs)
    )
    ours = list(params.values())
    theirs = list(network.parameters())
    assert [p.shape for p in theirs] == [p.shape for p in ours]
    for parameter, value in zip(theirs, ours, strict=True):
        parameter.data = value
    return network


def test_the_parameters_are_counted_by_hand():
    # a block of c channels to w: 9cw + 2 * 9ww + cw of kernels, 4 norms of 2w
    blocks = sum(10 * c * w + 18 * w * w + 8 * w for c, w in pairwise([3, *WIDTHS]))
    assert blocks == 12_424_320
    params = start(
        ResNet12(name="r", widths=WIDTHS, negative_slope=0.1), (3, 84, 84), 5, torch.Generator()
    )
    assert sum(p.numel() for p in params.values()) == blocks + 640 * 5 + 5


@pytest.mark.parametrize(("shape", "outputs"), [((3, 84, 84), 5), ((1, 28, 28), 20)])
def test_it_is_the_network_of_torch_modules(shape, outputs):
    generator = torch.Generator().manual_seed(0)
    params = start(SMALL, shape, outputs, generator)
    params = {n: p + 0.1 * torch.randn(p.shape, generator=generator) for n, p in params.items()}
    x = torch.rand(4, *shape, generator=generator)
    expected = modules(params, shape[0], SMALL.widths, outputs)(x)
    found = outputs_of(SMALL, params, x, BatchStats())
    assert found.shape == (4, outputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_starts_kaiming_normal():
    params = start(
        ResNet12(name="r", widths=WIDTHS, negative_slope=0.1),
        (3, 84, 84),
        5,
        torch.Generator().manual_seed(0),
    )
    kernel = params["body.2.1.conv.weight"]  # 320 x 320 x 3 x 3
    assert kernel.std().item() == pytest.approx(math.sqrt(2 / (320 * 9)), rel=0.01)
    assert all(not p.any() for n, p in params.items() if n.endswith("bias"))
    assert all((p == 1).all() for n, p in params.items() if n.endswith("norm.weight"))


@pytest.mark.parametrize("changes", [{}, {"bnwb": True, "bnrs": True, "lslr": True, "msl": True}])
def test_engines_agree_on_its_meta_gradient_and_statistics(changes):
    source = images(2, side=16)
    params = double(learner(SMALL, source, bn_stats="running", **changes).init(0))
    batch = image_batch(2, 2, 1, 1, source)
    loop, threads, vmap = (
        learner(SMALL, source, engine=engine, bn_stats="running", **changes).meta_gradient(
            params, batch, at_epoch(0)
        )
        for engine in ("loop", "threads", "vmap")
    )
    for other in (threads, vmap):
        for found, expected in ((other.gradient, loop.gradient), (other.state, loop.state)):
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                torch.testing.assert_close(found[name], tensor, rtol=1e-8, atol=1e-10)
    norms = 4 * 4  # three layers and the shortcut of each block
    running = [rows for name, rows in loop.state.items() if name.startswith("running")]
    assert len(running) == 2 * norms
    assert all(len(rows) == (2 if changes else 1) for rows in running)


@pytest.mark.parametrize("mode", ["batch", "support", "running"])
def test_it_is_evaluated_in_every_batch_norm_mode(mode):
    source = FakeSource((3, 16, 16), 3, images(3).objective)
    found = learner(SMALL, source, bn_stats="running", bnwb=True, bnrs=True)
    batch = image_batch(2, 3, 2, 1, source)
    outputs = found.predict(double(found.init(0)), batch, evaluated(range(3), mode))
    assert outputs.shape == (2, 3, 3, 3)
    assert outputs.isfinite().all()
