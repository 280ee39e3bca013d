"""Meta-Networks by hand: what the generators see, augmented layers, attention, derivatives."""

from functools import partial

import pytest
import torch
from problems import TRAIN, images, shipped

from maml_cli.core.autodiff import Autograd, Derivative
from maml_cli.core.errors import UsageError
from maml_cli.inner.coordinate_lstm import preprocessed
from maml_cli.readers.fast_weights import FastWeights, Generators, P
from maml_cli.readers.sequences import Examples, all_shown

WAYS = 2
SMALL = {"filters": 2, "blocks": [[1], [1]], "hidden": [3]}


def double(tensors):
    return {name: tensor.double() for name, tensor in tensors.items()}


@pytest.fixture
def reader():
    network = shipped("backbone", "plain_conv_meta_networks", **SMALL).build((1, 4, 4))
    return Generators(network=network, ways=WAYS)


@pytest.fixture
def params(reader):
    """With generators whose fast weights are large enough to matter."""
    found = double(reader.init(torch.Generator().manual_seed(0)))
    return {n: t * 30 if ".output.weight" in n else t for n, t in found.items()}


@pytest.fixture
def support():
    x = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    return Examples(x, torch.tensor([0, 1, 1, 0]), all_shown(x))


@pytest.fixture
def query():
    return torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(2)).double()


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [
        (0.1, (-0.328941, 1.0)),
        (-0.5, (-0.099021, -1.0)),
        (0.01, (-0.657881, 1.0)),
        (1e-4, (-1.0, 0.109663)),
        (0.0, (-1.0, 0.0)),
    ],
)
def test_generators_see_size_and_sign(gradient, expected):
    found = preprocessed(torch.tensor([gradient], dtype=torch.float64), P)
    assert found.shape == (2, 1)
    assert found[:, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_network_has_the_published_size():
    """Five convolutions of 64 filters, 64 units and 5 outputs, without biases."""
    network = shipped("backbone", "plain_conv_meta_networks").build((1, 28, 28))
    sizes = {layer.name: torch.Size(layer.shape).numel() for layer in network.layers}
    assert sum(size for name, size in sizes.items() if "conv" in name) == 148_032
    head = network.init_head(5, torch.Generator())
    assert sizes["body.linear.0"] + head["head.weight"].numel() == 4_416
    assert network.init(torch.Generator()).keys() == {f"{name}.weight" for name in sizes}


def test_fast_weights_of_zero_leave_the_slow_network(reader, params, query):
    slow = {n.removeprefix("base."): t for n, t in params.items() if n.startswith("base.")}
    zero = {name: torch.zeros_like(weight) for name, weight in slow.items()}
    found = reader.augmented(slow, zero, query)
    torch.testing.assert_close(found, reader.network.outputs(slow, query, None))
    # a layer of equal weights is twice the slow one; four layers of them are sixteen times it
    assert len(reader.network.layers) == 3
    torch.testing.assert_close(reader.augmented(slow, slow, query), 16 * found)


def test_silent_generators_answer_as_the_slow_network(reader, params, support, query):
    silent = {n: torch.zeros_like(t) if ".output." in n else t for n, t in params.items()}
    memory = reader.read(silent, support, Autograd().gradient)
    slow = {n.removeprefix("base."): t for n, t in params.items() if n.startswith("base.")}
    expected = reader.network.outputs(slow, query, None)
    torch.testing.assert_close(reader.answer(silent, memory, query), expected)


def test_a_query_has_the_fast_weights_of_the_examples_like_it(reader, params, support, query):
    """W*_1 = 0, W*_2 = w, orthogonal keys, a query like the second: W* = 0.731059 w."""
    memory = reader.read(params, support, Autograd().gradient)
    slow = {n.removeprefix("base."): t for n, t in params.items() if n.startswith("base.")}
    second = {n: w[1] for n, w in memory.base.items()}
    own = reader._keys(
        {n.removeprefix("representation."): t for n, t in params.items()},
        memory.representation,
        query[:1],
    )[0]
    other = torch.stack([-own[1], own[0], torch.zeros_like(own[0])])
    two = FastWeights(
        representation=memory.representation,
        base={n: torch.stack([torch.zeros_like(w), w]) for n, w in second.items()},
        keys=torch.stack([other, own]),
    )
    mixed = {n: 0.7310585786 * w for n, w in second.items()}
    expected = reader.augmented(slow, mixed, query[:1])
    torch.testing.assert_close(reader.answer(params, two, query[:1]), expected)


def loss_along(reader, params, support, query, direction, gradient):
    """The loss of the answers as a function of a step along a direction."""

    def loss(step):
        moved = {n: t + step * direction[n] for n, t in params.items()}
        memory = reader.read(moved, support, gradient)
        outputs = reader.answer(moved, memory, query)
        return torch.nn.functional.cross_entropy(outputs, torch.tensor([0, 1, 1]))

    return loss


def frozen(calls):
    """Gives the gradients of before, whatever the parameters are."""
    recorded = iter(calls)

    def gradient(*_):
        return Derivative(next(recorded), None, None)

    return gradient


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_agree_with_finite_differences(reader, params, support, query, order):
    """At order 1 the gradients that generators see are those of the start; at 2 they move along."""
    generator = torch.Generator().manual_seed(3)
    direction = {n: torch.randn(t.shape, generator=generator).double() for n, t in params.items()}
    gradient = partial(Autograd().gradient, differentiable=order == 2)
    calls = []

    def recording(function, at):
        found = gradient(function, at)
        calls.append({n: t.detach() for n, t in found.gradient.items()})
        return found

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = loss_along(reader, params, support, query, direction, recording)(step)
    (slope,) = torch.autograd.grad(value, step)

    def at(step):
        again = frozen(calls) if order == 1 else Autograd().gradient
        loss = loss_along(reader, params, support, query, direction, again)
        return loss(torch.tensor(step, dtype=torch.float64)).item()

    difference = (at(1e-6) - at(-1e-6)) / 2e-6
    assert slope.item() == pytest.approx(difference, rel=1e-4)


def test_another_backbone_is_refused_with_the_way_out():
    network = shipped("backbone", "conv4").build((1, 28, 28))
    with pytest.raises(UsageError, match="set backbone=plain_conv_meta_networks"):
        shipped("algo", "meta_networks").build(network, images(2), TRAIN)
