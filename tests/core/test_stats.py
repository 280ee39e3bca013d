"""Means and intervals by tables of Student's t."""

from math import inf, isnan, nan

import pytest

from maml_cli.core.stats import estimate


def test_by_the_table():
    # mean 2, s = 1, t(0.975, 2) = 4.303: 4.303 / sqrt(3)
    assert estimate([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / 3**0.5, 3), rel=1e-3)


@pytest.mark.parametrize("value", [inf, nan])
def test_an_episode_that_diverged_leaves_no_interval_and_no_warning(value):
    found = estimate([1.0, value, 2.0])
    assert str(found.mean) == str(value)
    assert isnan(found.ci95)
