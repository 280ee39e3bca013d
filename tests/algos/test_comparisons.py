"""Matching and Relation Networks and Siamese networks against values by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maml_cli.comparison.examples import ClassSum, Examples, attention, nearest
from maml_cli.comparison.pairs import WeightedL1
from maml_cli.comparison.prototypes import Prototypes
from maml_cli.comparison.relation import Relation
from maml_cli.comparison.similarities import Cosine, squared_euclidean
from maml_cli.core.norms import BatchStats


def column(*values):
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def scores(comparison, support, labels, queries, params=None):
    params = params or {}
    classes = comparison.classes(params, support, torch.tensor(labels), max(labels) + 1)
    return comparison.scores(params, classes, queries, BatchStats())


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_attention_over_four_examples_by_hand():
    # squared distances from 3: 9 and 1 to class 0, 4 and 16 to class 1
    found = scores(
        Examples(squared_euclidean, attention), column(0, 2, 5, 7), [0, 0, 1, 1], column(3)
    )
    assert found.softmax(-1)[0].tolist() == pytest.approx([0.95259, 0.04741], abs=5e-6)


def test_the_two_matching_networks_differ_at_two_shots():
    """Cosines {1, -0.2} against {0.45, 0.45}: the paper's sum picks class 0, the other class 1."""
    members = torch.tensor([[True, True, False, False], [False, False, True, True]])
    cosines = torch.tensor([[1.0, -0.2, 0.45, 0.45]])
    by_example = attention(cosines, members).softmax(-1)[0]
    by_class = ClassSum(shots=2)(cosines, members).softmax(-1)[0]
    assert by_example[0].item() == pytest.approx(0.529998, abs=5e-7)
    assert by_class[1].item() == pytest.approx(0.52498, abs=5e-6)
    assert nearest(cosines, members)[0].tolist() == pytest.approx([1.0, 0.45])


@pytest.mark.parametrize("similarity", [squared_euclidean, Cosine(7.0)])
def test_at_one_shot_prototypes_and_both_kinds_of_matching_agree(similarity):
    support, queries, labels = random(3, 4), random(5, 4, seed=1), [0, 1, 2]
    expected = scores(Prototypes(similarity), support, labels, queries).log_softmax(-1)
    for pooling in (attention, ClassSum(shots=1), nearest):
        found = scores(Examples(similarity, pooling), support, labels, queries)
        torch.testing.assert_close(found.log_softmax(-1), expected)


@pytest.mark.parametrize("pooling", [attention, ClassSum(shots=2), nearest])
def test_a_class_with_more_examples_gets_no_more_weight(pooling):
    """Class 1 has the example of class 0, and twice again."""
    found = scores(
        Examples(squared_euclidean, pooling), column(1, 1, 1, 1), [0, 1, 1, 1], column(2)
    )
    assert found[0, 0].item() == pytest.approx(found[0, 1].item())


def relation(shots=1, criterion="squared_error", padding=1):
    return Relation(filters=3, padding=padding, units=8, shots=shots, criterion=criterion)


def relation_params(comparison, shape):
    params = comparison.init(shape, torch.Generator().manual_seed(5))
    return {name: tensor.double() for name, tensor in params.items()}


@pytest.mark.parametrize(
    ("score", "ways", "loss"),
    [
        (-math.inf, 5, 0.2),  # ((1 - r)^2 + (W - 1) r^2) / W of r = 0
        (-math.inf, 20, 0.05),
        (-math.log(4), 5, 0.16),  # r = 1/5
        (-math.log(19), 20, 0.0475),  # r = 1/20
        (1.0, 5, 0.44202),
        (1.0, 20, 0.51134),
    ],
)
def test_the_squared_error_of_constant_relations(score, ways, loss):
    constant = torch.full((3, ways), score)
    found = relation().loss(constant, torch.tensor([0, 1, 4])).item()
    assert found == pytest.approx(loss, abs=5e-6)


def test_the_cross_entropy_of_constant_relations():
    found = relation(criterion="cross_entropy").loss(torch.zeros(2, 5), torch.tensor([0, 3]))
    assert found.item() == pytest.approx(math.log(5))


@pytest.mark.parametrize("padding", [0, 1])
def test_the_relation_module_is_torchs_modules_on_pairs_of_maps(padding):
    """Sums of two examples' maps beside those of a query, as the official code puts them."""
    comparison, shape = relation(shots=2, padding=padding), (2, 13, 13)
    params = relation_params(comparison, shape)
    support, queries, labels = random(6, *shape), random(4, *shape, seed=1), [0, 0, 1, 1, 2, 2]
    sums = support.view(3, 2, *shape).sum(1)
    pairs = torch.stack([torch.cat([c, q]) for q in queries for c in sums])

    def block(i, channels):
        conv, norm = nn.Conv2d(channels, 3, 3, padding=padding), nn.BatchNorm2d(3)
        return nn.Sequential(conv, norm, nn.ReLU(), nn.MaxPool2d(2)).double(), {
            "0.weight": params[f"relation.{i}.conv.weight"],
            "0.bias": params[f"relation.{i}.conv.bias"],
        }

    x = pairs
    for i, channels in enumerate((4, 3)):
        module, weights = block(i, channels)
        module.load_state_dict(module.state_dict() | weights)
        x = module(x)
    x = F.relu(F.linear(x.flatten(1), params["linear.0.weight"], params["linear.0.bias"]))
    expected = F.linear(x, params["linear.1.weight"], params["linear.1.bias"]).view(4, 3)
    torch.testing.assert_close(scores(comparison, support, labels, queries, params), expected)


def test_a_sum_stands_for_as_many_examples_as_in_training():
    """Three examples mean what five of the same did."""
    comparison, shape = relation(shots=5), (2, 8, 8)
    params, one = relation_params(comparison, shape), random(2, *shape)
    queries = random(2, *shape, seed=1)
    three = scores(comparison, one[[0, 0, 0, 1]], [0, 0, 0, 1], queries, params)
    five = scores(comparison, one[[0] * 5 + [1] * 5], [0] * 5 + [1] * 5, queries, params)
    torch.testing.assert_close(three, five)


def siamese(**changes):
    params = WeightedL1(units=6).init((4,), torch.Generator().manual_seed(3))
    return {n: t.double() for n, t in params.items()} | changes


def test_identical_pictures_score_the_bias_whatever_alpha_is():
    params = siamese(bias=torch.tensor([0.7], dtype=torch.float64))
    x = random(2, 4)
    found = scores(WeightedL1(units=6), x, [0, 1], x, params)
    assert found.diag().tolist() == pytest.approx([0.7, 0.7])


def test_a_pair_has_no_order():
    x, y, params = random(2, 4), random(2, 4, seed=1), siamese()
    there = scores(WeightedL1(units=6), x, [0, 1], y, params)
    back = scores(WeightedL1(units=6), y, [0, 1], x, params)
    torch.testing.assert_close(there, back.T)


def test_a_siamese_score_by_hand():
    """Two sigmoids of one feature, at 0 and ln 3: 1/2 and 3/4 apart by 1/4, and 1/2 and 1/4."""
    params = {
        "layer.weight": torch.tensor([[1.0], [-1.0]]),
        "layer.bias": torch.zeros(2),
        "alpha": torch.tensor([-4.0, -2.0]),
        "bias": torch.tensor([0.5]),
    }
    found = scores(
        WeightedL1(units=2), torch.tensor([[0.0]]), [0], torch.tensor([[math.log(3)]]), params
    )
    assert found.item() == pytest.approx(-4 / 4 - 2 / 4 + 0.5)


def test_pairs_of_the_same_class_and_of_two():
    comparison = WeightedL1(units=1)
    assert comparison.loss(torch.zeros(4, 4), torch.arange(4)).item() == pytest.approx(math.log(2))
    # by rows: the query's own class, and the next one; -ln of the right sigmoid of each
    pairs = torch.tensor([[2.0, -1.0, 9.0], [9.0, 0.5, 3.0], [0.0, 9.0, 1.0]])
    same = [math.log1p(math.exp(-s)) for s in (2.0, 0.5, 1.0)]
    other = [math.log1p(math.exp(s)) for s in (-1.0, 3.0, 0.0)]
    by_hand = sum(same + other) / 6
    assert comparison.loss(pairs, torch.arange(3)).item() == pytest.approx(by_hand)
