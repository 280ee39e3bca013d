"""The Neural Statistician against values by hand and torch's distributions."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from maml_cli.comparison.comparison import of_class
from maml_cli.comparison.gaussians import Gaussian, kl, kl_to_standard
from maml_cli.comparison.statistician import Statistician
from maml_cli.core.norms import BatchStats

SMALL = Statistician(
    picture=(1, 6, 7),
    context=3,
    latent=2,
    units=4,
    filters=2,
    likelihood="bernoulli",
    divergence="query_to_class",
    sample_dropout=False,
)
FEATURES = (5,)
KEY = torch.tensor([12, 34])


def normal(mean, variance):
    return Gaussian(torch.tensor([mean]).double(), torch.tensor([variance]).double().log())


@pytest.mark.parametrize(
    ("p", "q", "value"),
    [
        ((1, 1), (0, 1), 0.5),
        ((0, 4), (0, 1), 0.80685),
        ((0, 1), (0, 4), 0.31815),
    ],
)
def test_divergences_by_hand(p, q, value):
    assert kl(normal(*p), normal(*q)).item() == pytest.approx(value, abs=5e-6)
    if q == (0, 1):
        assert kl_to_standard(normal(*p)).item() == pytest.approx(value, abs=5e-6)


def test_divergences_are_those_of_torch():
    generator = torch.Generator().manual_seed(1)
    m, n, v, w = torch.randn(4, 3, 2, generator=generator, dtype=torch.float64)
    expected = kl_divergence(Normal(m, (v / 2).exp()), Normal(n, (w / 2).exp())).sum(-1)
    torch.testing.assert_close(kl(Gaussian(m, v), Gaussian(n, w)), expected)


class Told(Statistician):
    """A query's posterior is N(0, 1), whatever its features are."""

    def _posterior(self, params, features, members):
        zeros = torch.zeros(len(features), 1, dtype=torch.float64)
        return Gaussian(zeros, zeros)


@pytest.mark.parametrize(
    ("divergence", "scores", "nearest"),
    [("query_to_class", (-0.31815, -0.5), 0), ("class_to_query", (-0.80685, -0.5), 1)],
)
def test_the_direction_decides(divergence, scores, nearest):
    """Class A is N(0, 4), class B is N(1, 1), the query is N(0, 1)."""
    a, b = normal(0, 4), normal(1, 1)
    classes = Gaussian(*(torch.stack(pair) for pair in zip(a, b, strict=True)))
    told = Told(**{**SMALL.__dict__, "divergence": divergence})
    found = told.scores({}, classes, torch.zeros(1, 5), BatchStats())[0]
    assert found.tolist() == pytest.approx(scores, abs=5e-6)
    assert found.argmax() == nearest


def params(**changes):
    fresh = SMALL.init(FEATURES, torch.Generator().manual_seed(0))
    return {n: t.double() for n, t in fresh.items()} | changes


def blank():
    return {n: torch.zeros_like(t) for n, t in params().items()}


def bound(own, x, statistician=SMALL, labels=(0, 0, 1, 1)):
    features = torch.rand(len(x), *FEATURES, generator=torch.Generator().manual_seed(2)).double()
    members = of_class(torch.tensor(labels), 2)
    return statistician.negative_bound(own, x, features, members=members, key=KEY).item()


def pictures(value):
    return torch.full((4, 1, 6, 7), value, dtype=torch.float64)


def test_a_model_that_knows_nothing_pays_ln_2_for_every_pixel():
    assert bound(blank(), pictures(1.0)) == pytest.approx(42 * math.log(2))


def test_a_gaussian_model_that_knows_nothing_pays_half_a_square():
    gaussian = replace(SMALL, likelihood="gaussian")
    assert bound(blank(), pictures(3.0), gaussian) == pytest.approx(42 * 9 / 2)


def test_a_context_is_paid_for_once_in_a_set_and_a_latent_number_in_every_picture():
    """N(1, 1) costs 1/2 for each number: 3 of each of two contexts, 2 of each of four pictures."""
    own = blank()
    own["statistic.out.bias"][:3] = 1.0  # the means
    assert bound(own, pictures(0.0)) == pytest.approx(42 * math.log(2) + 2 * 3 / 2 / 4)
    own = blank()
    own["inference.out.bias"][:2] = 1.0
    assert bound(own, pictures(0.0)) == pytest.approx(42 * math.log(2) + 2 / 2)
    own["prior.out.bias"][:2] = 1.0  # a prior that expects it
    assert bound(own, pictures(0.0)) == pytest.approx(42 * math.log(2))


def test_copies_of_a_picture_differ_from_one_by_their_number_alone():
    x = torch.rand(1, *FEATURES, generator=torch.Generator().manual_seed(4)).double()
    one, three = torch.tensor([0]), torch.tensor([0, 0, 0])
    known, counts = params(), params()
    known["statistic.set.weight"] = known["statistic.set.weight"].clone()
    known["statistic.set.weight"][:, -1] = 0  # the weights of the number
    for own, same in ((known, True), (counts, False)):
        alone, together = (
            SMALL.classes(own, x.expand(len(y), -1), y, 1).mean for y in (one, three)
        )
        assert torch.allclose(alone, together) is same


def test_sample_dropout_keeps_some_of_every_set_and_sometimes_all():
    members = of_class(torch.tensor([0, 0, 0, 1, 1, 1]), 2)
    kept = [Statistician._kept(members, torch.tensor([i, 7])) for i in range(200)]
    assert all(not (k & ~members).any() for k in kept)
    numbers = torch.stack([k.sum(1) for k in kept]).flatten()
    assert numbers.min() == 1
    shares = torch.bincount(numbers, minlength=4)[1:] / len(numbers)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.1)  # 4 standard deviations


def test_the_bound_repeats_and_depends_on_the_key():
    own, x = params(), pictures(0.5)
    assert bound(own, x) == bound(own, x)
    dropped = replace(SMALL, sample_dropout=True)
    assert bound(own, x, dropped) != bound(own, x)
