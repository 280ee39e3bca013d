"""Stein variational gradient descent against values from paper and pencil."""

import math

import pytest
import torch

from maml_cli.inner.svgd import direction, prior_slope

CODE = {"repulsion": "half", "bandwidth": "matrix"}


def of_standard_normal(*x, **switches):
    """The direction of particles on a line, whose density is N(0, 1)."""
    points = torch.tensor(x, dtype=torch.float64).unsqueeze(1)
    return direction([points], [-points], **switches)[0].squeeze(1).tolist()


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, (-0.596574, -0.153426)),
        ({"repulsion": "half"}, (-0.423287, -0.326713)),
        (CODE, (-0.298287, -0.326713)),
    ],
)
def test_two_particles_by_hand(switches, expected):
    """At 0 and 1 the pairs' median gives h = 1 / log 2 and k = 1/2, the matrix's k = 1/4."""
    assert of_standard_normal(0, 1, **switches) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("switches", "place"),
    [
        ({}, math.sqrt(math.log(2))),
        ({"repulsion": "half"}, 0.588705),
        ({"bandwidth": "matrix"}, 0.679778),
        (CODE, 0.480676),
    ],
)
def test_two_particles_rest_where_slope_and_repulsion_are_equal(switches, place):
    assert of_standard_normal(-place, place, **switches) == pytest.approx([0, 0], abs=1e-6)
    inner, outer = of_standard_normal(-place - 0.1, place + 0.1, **switches)
    assert (inner > 0, outer < 0) == (True, True)


def test_one_particle_follows_its_slope():
    assert of_standard_normal(3.0) == [-3.0]


def test_particles_at_one_place_stay_finite():
    assert of_standard_normal(1.0, 1.0) == [-1.0, -1.0]


def test_the_place_of_all_particles_together_costs_no_digits():
    """In float32; the numbers can be written without rounding, so the shift itself adds none."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-8, 9, (4, 3), generator=generator) / 8
    slope = torch.randn(4, 3, generator=generator)
    torch.testing.assert_close(direction([x + 4096], [slope]), direction([x], [slope]))


def test_the_repulsion_is_the_kernels_gradient():
    """Against automatic differentiation of the kernel, in float64."""
    generator = torch.Generator().manual_seed(0)
    x, slope = (torch.randn(5, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    square = torch.cdist(x, x).square()
    pairs = square[torch.triu_indices(5, 5, 1).unbind()]
    h = pairs.sort().values[[4, 5]].mean() / math.log(5)
    expected = torch.zeros_like(x)
    for i in range(5):
        at = x.clone().requires_grad_()
        kernel = (-(at - x[i]).square().sum(1) / h).exp()
        (gradient,) = torch.autograd.grad(kernel.sum(), at)
        expected[i] = ((kernel.unsqueeze(1) * slope).sum(0) + gradient.sum(0)).detach() / 5
    (found,) = direction([x], [slope])
    torch.testing.assert_close(found, expected)
    parts = direction(x.split([3, 4], 1), slope.split([3, 4], 1))  # one distance for all parts
    torch.testing.assert_close(torch.cat(parts, 1), expected)


def test_the_priors_slope_is_its_logarithms_gradient():
    """Against torch's own densities, each precision with the Jacobian of its logarithm."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights, precisions = drawn(2, 15).requires_grad_(), drawn(2, 2).requires_grad_()
    gammas = [
        torch.distributions.Gamma(torch.tensor(2.0).double(), torch.tensor(rate).double())
        for rate in (2.0, 0.2)
    ]
    density = sum(
        gamma.log_prob(log.exp()).sum() + log.sum()
        for gamma, log in zip(gammas, precisions.unbind(1), strict=True)
    )
    for row, log in zip(weights, precisions[:, 0], strict=True):
        density = density + torch.distributions.Normal(0.0, (-0.5 * log).exp()).log_prob(row).sum()
    expected = torch.autograd.grad(density, [weights, precisions])
    torch.testing.assert_close(prior_slope(weights, precisions), expected)
    alone = prior_slope(weights, precisions[:, :1])  # of classes there is no noise
    torch.testing.assert_close(alone[1], expected[1][:, :1])
