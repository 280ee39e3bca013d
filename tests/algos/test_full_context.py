"""Full context embeddings against values by hand and against torch's own LSTM."""

import math

import pytest
import torch
from torch import nn

from maml_cli.comparison.context import ATTENTION, BACKWARD, FORWARD, FullContext
from maml_cli.comparison.examples import Examples, attention
from maml_cli.comparison.similarities import Cosine
from maml_cli.core.norms import BatchStats

SIZE = 3


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def weights(context, *, seed=None, size=SIZE):
    zeros = {n: t.double() for n, t in context.init((size,)).items()}
    if seed is None:
        return zeros
    return {n: random(*t.shape, seed=seed + i) / 2 for i, (n, t) in enumerate(zeros.items())}


def test_with_weights_of_zero_it_is_plain_matching_exactly():
    plain, context = Examples(Cosine(), attention), FullContext(steps=3)
    full = Examples(Cosine(), attention, context)
    support, queries, labels = random(4, SIZE), random(5, SIZE, seed=1), torch.tensor([0, 0, 1, 1])
    found = []
    for comparison, params in ((plain, {}), (full, weights(context))):
        classes = comparison.classes(params, support, labels, 2)
        found.append(comparison.scores(params, classes, queries, BatchStats()))
    assert torch.equal(*found)


def torchs(params, name):
    """The same weights in torch's module, whose gates stand in another order: i, f, j, o."""
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    i, f, o, j = range(4)
    order = [torch.arange(SIZE) + SIZE * gate for gate in (i, f, j, o)]
    rows = torch.cat(order)
    return weight[rows], bias[rows]


def test_the_support_set_passes_torchs_lstm_in_both_directions():
    context = FullContext(steps=1)
    params, points = weights(context, seed=4), random(5, SIZE)
    module = nn.LSTM(SIZE, SIZE, bidirectional=True).double()
    for name, suffix in ((FORWARD, "l0"), (BACKWARD, "l0_reverse")):
        weight, bias = torchs(params, name)
        own = {
            f"weight_ih_{suffix}": weight[:, :SIZE],
            f"weight_hh_{suffix}": weight[:, SIZE:],
            f"bias_ih_{suffix}": bias,
            f"bias_hh_{suffix}": torch.zeros_like(bias),
        }
        module.load_state_dict(module.state_dict() | own)
    outputs, _ = module(points.unsqueeze(1))
    forward, backward = outputs.squeeze(1).split(SIZE, dim=1)
    torch.testing.assert_close(context.support(params, points), points + forward + backward)


@pytest.mark.parametrize("name", [FORWARD, BACKWARD])
def test_a_direction_by_hand(name):
    """Gates of 1/2 and a candidate of 0.8: cells 0.4 and 0.6, the second one seen two examples."""
    params = weights(FullContext(steps=1), size=1)
    params[f"{name}.bias"] = torch.tensor([0, 0, 0, math.atanh(0.8)], dtype=torch.float64)
    found = FullContext(steps=1).support(params, torch.tensor([[1.0], [2.0]]).double())
    first, second = math.tanh(0.4) / 2, math.tanh(0.6) / 2
    if name == BACKWARD:
        first, second = second, first
    assert found.flatten().tolist() == pytest.approx([1 + first, 2 + second])


def test_two_reads_of_the_support_set_by_hand():
    """One feature; the candidate is the tangent of twice what is read, all gates are 1/2."""
    context = FullContext(steps=2)
    params = weights(context, size=1)
    params[f"{ATTENTION}.weight"][3, 2] = 2.0
    points, query = (1.0, 3.0), 0.5
    read = 2.0  # the mean
    cell = math.tanh(2 * read) / 2
    hidden = math.tanh(cell) / 2 + query
    share = [math.exp(hidden * g) for g in points]
    read = sum(s * g for s, g in zip(share, points, strict=True)) / sum(share)
    cell = cell / 2 + math.tanh(2 * read) / 2
    hidden = math.tanh(cell) / 2 + query
    found = context.queries(
        params, torch.tensor([[query]]).double(), torch.tensor(points).double().unsqueeze(1)
    )
    assert found.item() == pytest.approx(hidden)


def test_the_read_out_of_a_single_example_is_that_example():
    """So two steps are those of torch's cell, told the query and the example as its input."""
    context = FullContext(steps=2)
    params, query, point = weights(context, seed=9), random(2, SIZE), random(1, SIZE, seed=2)
    weight, bias = torchs(params, ATTENTION)
    cell = nn.LSTMCell(2 * SIZE, SIZE).double()
    own = {
        "weight_ih": torch.cat([weight[:, :SIZE], weight[:, 2 * SIZE :]], dim=1),
        "weight_hh": weight[:, SIZE : 2 * SIZE],
        "bias_ih": bias,
        "bias_hh": torch.zeros_like(bias),
    }
    cell.load_state_dict(own)
    inputs = torch.cat([query, point.expand(2, -1)], dim=1)
    hidden = state = torch.zeros(2, SIZE, dtype=torch.float64)
    for _ in range(2):
        output, state = cell(inputs, (hidden, state))
        hidden = output + query
    torch.testing.assert_close(context.queries(params, query, point), hidden)


def test_the_order_of_the_examples_matters_by_design():
    context = FullContext(steps=2)
    params, points = weights(context, seed=4), random(4, SIZE)
    forward, turned = context.support(params, points), context.support(params, points.flip(0))
    assert not torch.allclose(forward, turned.flip(0))
