"""Each paper's form of conv4 is the network that the paper's code composes of layers."""

import math

import pytest
import torch
from problems import outputs_of, start
from torch import nn

from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.config.paths import conf_dir
from maml_cli.core.norms import BatchStats
from maml_cli.engines.fused_images import Seen
from maml_cli.engines.fused_norm import FusedBatchStats

OMNIGLOT, MINI_IMAGENET = (1, 28, 28), (3, 84, 84)
# By the papers' code: filters, how it halves, the slope, a gain, eps, the head's inputs.
FORMS = {
    "conv4": (OMNIGLOT, 64, "valid", 0.01, True, 1e-5, 64),
    "conv4_48": (MINI_IMAGENET, 48, "valid", 0.01, True, 1e-5, 48 * 5 * 5),
    "conv4_maml_omniglot": (OMNIGLOT, 64, "stride", 0.0, False, 1e-3, 64),
    "conv4_maml_mini_imagenet": (MINI_IMAGENET, 32, "valid", 0.0, False, 1e-3, 800),
    "conv4_matching": (MINI_IMAGENET, 64, "valid", 0.0, True, 1e-3, 1600),
    "conv4_protonet": (OMNIGLOT, 64, "valid", 0.0, True, 1e-5, 64),
    "conv4_meta_lstm": (MINI_IMAGENET, 32, "valid", 0.0, True, 1e-3, 800),
    "conv4_reptile_omniglot": (OMNIGLOT, 64, "stride", 0.0, True, 1e-3, 256),
    "conv4_reptile_mini_imagenet": (MINI_IMAGENET, 32, "same", 0.0, True, 1e-3, 1152),
}
MEAN_OF_PLACES = {"conv4_maml_omniglot"}
MAPS = {"conv4_relation"}
"""Halves twice only, since its maps are compared."""


def shipped(name):
    return build(Composer().compose([f"backbone={name}"]), command="").backbone


def same_padding(size):
    """Zeros before and after, by TensorFlow's rule for 3 wide windows two apart."""
    total = max((math.ceil(size / 2) - 1) * 2 + 3 - size, 0)
    return total // 2, total - total // 2


class Block(nn.Module):
    """Convolution, batch norm, activation, and then pooling, as the papers write it."""

    def __init__(self, inputs, filters, halving, slope, gain, eps):
        super().__init__()
        stride, padding = (2, 0) if halving == "stride" else (1, 1)
        self.halving = halving
        self.conv = nn.Conv2d(inputs, filters, 3, stride, padding)
        self.norm = nn.BatchNorm2d(filters, eps=eps)
        self.activation = nn.LeakyReLU(slope)

    def forward(self, x):
        if self.halving == "stride":
            rows, columns = same_padding(x.shape[2]), same_padding(x.shape[3])
            return self.activation(self.norm(self.conv(nn.functional.pad(x, (*columns, *rows)))))
        x = self.activation(self.norm(self.conv(x)))
        if self.halving == "same" and x.shape[2] % 2:  # the window over the edge sees the edge only
            x = nn.functional.pad(x, (0, 1, 0, 1), value=-math.inf)
        return nn.functional.max_pool2d(x, 2)


def composed(name, params):
    """The network of layers that holds these parameters."""
    shape, filters, halving, slope, gain, eps, features = FORMS[name]
    blocks = [
        Block(shape[0] if i == 0 else filters, filters, halving, slope, gain, eps) for i in range(4)
    ]
    end = nn.AdaptiveAvgPool2d(1) if name in MEAN_OF_PLACES else nn.Identity()
    network = nn.Sequential(*blocks, end, nn.Flatten(), nn.Linear(features, 5)).double()
    for i, block in enumerate(blocks):
        for part, module in (("conv", block.conv), ("norm", block.norm)):
            module.bias.data = params[f"body.{i}.{part}.bias"]
        block.conv.weight.data = params[f"body.{i}.conv.weight"]
        if gain:
            block.norm.weight.data = params[f"body.{i}.norm.weight"]
    network[-1].weight.data, network[-1].bias.data = params["head.weight"], params["head.bias"]
    return network


def test_every_form_is_here():
    shipped = {file.stem for file in (conf_dir() / "backbone").glob("conv4*.yaml")}
    assert shipped == set(FORMS) | MAPS


@pytest.mark.parametrize("norm", [BatchStats, lambda: FusedBatchStats(Seen())])
@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_the_network_of_its_paper(name, norm):
    shape, _, _, _, gain, _, features = FORMS[name]
    backbone = shipped(name)
    generator = torch.Generator().manual_seed(0)
    params = {n: p.double() for n, p in start(backbone, shape, 5, generator).items()}
    assert params["head.weight"].shape == (5, features)
    assert ("body.0.norm.weight" in params) == gain
    moved = {  # away from zeros and ones, and with gains of both signs
        n: p + 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype) if p.ndim == 1 else p
        for n, p in params.items()
    }
    if gain:
        moved["body.1.norm.weight"][::2] *= -1
    x = torch.rand(3, *shape, generator=generator, dtype=torch.float64)
    found = outputs_of(backbone, moved, x, norm())
    torch.testing.assert_close(found, composed(name, moved)(x), rtol=1e-9, atol=1e-10)


def test_same_padding_is_uneven_where_the_size_is_even():
    assert [same_padding(size) for size in (28, 14, 7, 4)] == [(0, 1), (0, 1), (1, 1), (0, 1)]


def test_maml_on_omniglot_starts_its_head_from_the_standard_normal():
    head = start(shipped("conv4_maml_omniglot"), OMNIGLOT, 200, torch.Generator().manual_seed(0))
    weights = head["head.weight"]  # 12,800 of them: the mean deviates by 0.009, std by 0.006
    assert weights.mean().item() == pytest.approx(0, abs=0.05)
    assert weights.std().item() == pytest.approx(1, abs=0.035)
