"""Shapes, counts and initial values of the networks."""

import math

import pytest
import torch
from problems import conv4 as small_conv4
from problems import outputs_of, start

from maml_cli.backbones.mlp import MLP
from maml_cli.core.norms import BatchStats


def mlp(hidden, **changes):
    off = {"name": "mlp", "batch_norm": False, "norm_gain": True, "norm_eps": 1e-5}
    off |= {"activation": "relu", "weight_init": "truncated_normal"}
    return MLP(hidden=hidden, **off | changes)


NO_CONV = mlp([256, 128, 64, 64], batch_norm=True, norm_gain=False, norm_eps=1e-3)


def conv4(filters=64, **changes):
    return small_conv4(filters=filters, **changes)


def count(params):
    return sum(p.numel() for p in params.values())


@pytest.mark.parametrize(
    ("backbone", "shape", "outputs", "expected"),
    [
        # 9*64+64 + 3*(9*64*64+64) + 4*128 + 64*5+5
        (conv4(), (1, 28, 28), 5, 640 + 3 * 36_928 + 512 + 325),
        (conv4(), (1, 28, 28), 20, 640 + 3 * 36_928 + 512 + 1_300),
        # Mini-ImageNet: 27*48+48 + 3*(9*48*48+48) + 4*96 + 48*5*5*5+5
        (conv4(48), (3, 84, 84), 5, 1_344 + 3 * 20_784 + 384 + 6_005),
        # 1-40-40-1
        (mlp([40, 40]), (1,), 1, 80 + 1_640 + 41),
        # 784*256+256 + 256*128+128 + 128*64+64 + 64*64+64 + 64*5+5, and a bias for each unit
        (NO_CONV, (1, 28, 28), 5, 200_960 + 32_896 + 8_256 + 4_160 + 325 + 512),
    ],
)
def test_parameter_counts_by_hand(backbone, shape, outputs, expected):
    params = start(backbone, shape, outputs, torch.Generator())
    assert count(params) == expected
    x = torch.rand(6, *shape)
    assert outputs_of(backbone, params, x, BatchStats()).shape == (6, outputs)


def test_conv4_starts_xavier_uniform_with_zero_biases_and_unit_gains():
    params = start(conv4(), (1, 28, 28), 5, torch.Generator().manual_seed(0))
    kernel = params["body.1.conv.weight"]
    bound = math.sqrt(6 / (64 * 9 + 64 * 9))
    assert kernel.abs().max() <= bound
    assert kernel.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert all(not p.any() for n, p in params.items() if n.endswith("bias"))
    assert all((p == 1).all() for n, p in params.items() if n.endswith("norm.weight"))


def test_mlp_starts_small_and_cut_off():
    params = start(mlp([400, 400]), (1,), 1, torch.Generator().manual_seed(0))
    weight = params["body.1.weight"]
    assert weight.abs().max() <= 0.02
    # the deviation of a normal cut off at two deviations is 0.8796 of the whole one's
    assert weight.std().item() == pytest.approx(0.008796, rel=0.01)
    assert not params["head.bias"].any()


def test_mlp_starts_uniform_as_torch_layers_do():
    params = start(
        mlp([400, 100], weight_init="uniform"), (25,), 1, torch.Generator().manual_seed(0)
    )
    for layer, inputs in (("body.0", 25), ("body.1", 400), ("head", 100)):
        values = torch.cat([params[f"{layer}.weight"].flatten(), params[f"{layer}.bias"]])
        theirs = torch.nn.Linear(inputs, 10_000 // inputs)
        assert values.abs().max() <= 1 / math.sqrt(inputs)
        assert values.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.15)
        assert params[f"{layer}.bias"].any()


def test_the_same_generator_state_gives_the_same_network():
    one, same, other = (
        start(conv4(), (1, 28, 28), 5, torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_no_conv_is_the_network_of_torch_modules():
    params = start(NO_CONV, (1, 28, 28), 5, torch.Generator().manual_seed(0))
    assert not any("norm.weight" in name for name in params)
    layers = [torch.nn.Flatten()]
    for layer, (fan_in, fan_out) in enumerate([(784, 256), (256, 128), (128, 64), (64, 64)]):
        linear = torch.nn.Linear(fan_in, fan_out)
        linear.weight.data = params[f"body.{layer}.weight"]
        linear.bias.data.zero_()
        layers += [linear, torch.nn.BatchNorm1d(fan_out, eps=1e-3), torch.nn.ReLU()]
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    features = torch.nn.Sequential(*layers)(x)
    expected = torch.nn.functional.linear(features, params["head.weight"], params["head.bias"])
    torch.testing.assert_close(
        outputs_of(NO_CONV, params, x, BatchStats()), expected, rtol=1e-3, atol=1e-5
    )
