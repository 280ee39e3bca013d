"""Prototypical Networks against values by hand, and the outer rate that halves."""

import math

import pytest
import torch
from problems import CPU, TRAIN, FakeSource, Toy, at_epoch, keys, shipped

from maml_cli.comparison.prototypes import Prototypes
from maml_cli.comparison.similarities import Cosine, squared_euclidean
from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.norms import BatchStats
from maml_cli.core.objective import CLASSIFICATION
from maml_cli.core.schedules import halved, outer_rate
from maml_cli.core.types import Episode, Progress
from maml_cli.engines.choice import make_engine


def column(*values):
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def scores(similarity, support, labels, queries):
    comparison = Prototypes(similarity)
    classes = comparison.classes({}, support, torch.tensor(labels), max(labels) + 1)
    return comparison.scores({}, classes, queries, BatchStats())


def test_squared_distances_to_the_means_by_hand():
    # means 1 and 6; the query 3 is 4 and 9 away, squared
    found = scores(squared_euclidean, column(0, 2, 5, 7), [0, 0, 1, 1], column(3, 3.5))
    assert found[0].tolist() == [-4, -9]
    assert found[1].softmax(-1).tolist() == [0.5, 0.5]
    assert found[0].softmax(-1)[0].item() == pytest.approx(0.99331, abs=5e-6)
    loss = Prototypes(squared_euclidean).loss(found[:1], torch.tensor([0]))
    assert loss.item() == pytest.approx(0.0067153, abs=5e-8)


def test_classes_may_have_different_numbers_of_examples_in_any_order():
    # the means of {0, 1, 5} and {6} are 2 and 6: a query at 4 is a tie
    found = scores(squared_euclidean, column(0, 6, 1, 5), [0, 1, 0, 0], column(4))
    assert found[0].tolist() == [-4, -4]


def test_a_prototype_is_a_linear_classifier():
    # -|q - c|^2 = 2 c.q - |c|^2 - |q|^2, and |q|^2 is the same for all classes
    c, q = torch.tensor([[1.0, 2.0], [-3.0, 0.5]]), torch.tensor([[0.25, -1.0]])
    linear = 2 * q @ c.T - c.square().sum(1)
    found = scores(squared_euclidean, c, [0, 1], q)
    torch.testing.assert_close(found.log_softmax(-1), linear.log_softmax(-1))


def test_cosines_by_hand():
    # the query lies along class 0 and across class 1
    support, query = torch.tensor([[2.0, 0.0], [0.0, 5.0]]), torch.tensor([[3.0, 0.0]])
    assert scores(Cosine(), support, [0, 1], query).tolist() == [[1, 0]]
    assert scores(Cosine(10.0), support, [0, 1], query).tolist() == [[10, 0]]
    found = scores(Cosine(), support, [0, 1], query)
    assert found.softmax(-1)[0, 0].item() == pytest.approx(0.73106, abs=5e-6)
    assert CLASSIFICATION.loss(found, torch.tensor([0])).item() == pytest.approx(0.31326, abs=5e-6)


@pytest.mark.parametrize(("ways", "floor"), [(5, 0.90483), (20, 2.07815)])
def test_the_lowest_loss_of_unscaled_cosines_of_features_that_are_not_negative(ways, floor):
    found = scores(Cosine(), torch.eye(ways), list(range(ways)), torch.eye(ways))
    loss = CLASSIFICATION.loss(found, torch.arange(ways)).item()
    assert loss == pytest.approx(floor, abs=1e-5)
    assert loss == pytest.approx(math.log(math.e + ways - 1) - 1, abs=1e-6)


class Normalised(Toy):
    """Features are the inputs, batch-normalised."""

    norms = {"norm": 1}  # noqa: RUF012

    def init(self, generator):
        return {"norm.weight": torch.ones(1), "norm.bias": torch.zeros(1)}

    def features(self, params, x, norm):
        return norm("norm", x, params, eps=0.0)


@pytest.mark.parametrize("joint", [True, False])
def test_batch_norm_of_support_and_queries_as_one_batch_or_apart(joint):
    """One support example of each class, 0 and 2, and two queries of class 0 at 4 and 6.

    Together their mean is 3 and their variance 5; apart, the support set has mean 1 and variance 1,
    the queries 5 and 1. The means of the statistics' first updates tell which was computed.
    """
    source = FakeSource(output_size=2, objective=CLASSIFICATION)
    settings = shipped("algo", "protonet", joint_norm=joint)
    engine = make_engine("loop", settings.build(Normalised(), source, TRAIN), CPU)
    labels = torch.tensor([[0, 1]]), torch.tensor([[0, 0]])
    x = torch.tensor([[[0.0], [2.0]]]), torch.tensor([[[4.0], [6.0]]])
    episode = Episode(x[0], labels[0], x[1], labels[1], torch.arange(2).unsqueeze(0), keys(1))
    params = engine.algorithm.init(0)
    step = engine.meta_gradient(params, episode, at_epoch(0))
    means = {name: tensors["norm.mean"].item() for name, tensors in step.state.items()}
    want = {"running": 0.3} if joint else {"running_support": 0.1, "running_queries": 0.5}
    assert means == pytest.approx(want)
    # the queries become (4 - 3)/sqrt(5) and 3/sqrt(5), or -1 and 1; the support -3, -1 or -1, 1
    if joint:
        q, s = torch.tensor([1.0, 3.0]) / 5**0.5, torch.tensor([-3.0, -1.0]) / 5**0.5
    else:
        q, s = torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0])
    by_hand = (-(q.unsqueeze(1) - s).square()).log_softmax(-1)[:, 0].neg().mean()
    assert step.loss.item() == pytest.approx(by_hand.item(), rel=1e-5)


def at_iteration(iteration):
    return Progress(iteration=iteration, epoch=0, iterations=20_000, epochs=1)


def test_the_outer_rate_halves():
    rate = halved(1e-3, every=2000)
    rates = [rate(at_iteration(i)) for i in (0, 1999, 2000, 3999, 4000, 19_999)]
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 1e-3 / 512]


def test_the_rate_is_constant_where_nothing_halves_it():
    assert outer_rate(TRAIN)(at_iteration(19_999)) == TRAIN.outer_lr


def test_a_checkpoint_of_features_alone_has_no_head():
    settings = shipped("algo", "protonet")
    source = FakeSource((1, 16, 16), 5, CLASSIFICATION)
    network = shipped("backbone", "conv4_protonet", filters=4).build((1, 16, 16))
    params: MetaParameters = settings.build(network, source, TRAIN).init(0)
    assert not any(name.startswith("head") for name in params.theta["model"])
