"""What a step sees of the support set: minibatches are a function of the episode's key alone."""

import pytest
import torch
from problems import keys

from maml_cli.inner.feeds import Minibatches, WholeSupport

KEY = torch.tensor([7, -3])


def batches(feed, key, examples, count):
    everyone = torch.arange(examples)
    return torch.stack([everyone[feed.rows(key, examples, step)] for step in range(count)])


@pytest.mark.parametrize("feed", [WholeSupport(), Minibatches(4)])
def test_the_whole_set_is_seen_at_every_step_as_it_is(feed):
    assert batches(feed, KEY, 4, 3).tolist() == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize("size", [1, 2, 4, 9, 12])
def test_minibatches_run_through_the_set_without_replacement(size):
    rows = batches(Minibatches(size), KEY, 6, 12)
    assert rows.shape == (12, size)
    assert rows.dtype == torch.int64
    orders = rows.view(-1, 6).tolist()  # passes over six examples, cut into minibatches
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_the_size_of_minibatches_does_not_change_the_orders():
    passes = [batches(Minibatches(size), KEY, 6, 12 // size).flatten() for size in (1, 4, 12)]
    assert torch.equal(passes[0], passes[1])
    assert torch.equal(passes[0], passes[2])


def test_minibatches_belong_to_the_key_alone():
    found = torch.stack([batches(Minibatches(2), key, 6, 6) for key in keys(8)])
    together = torch.func.vmap(lambda key: batches(Minibatches(2), key, 6, 6))(keys(8))
    assert torch.equal(found, together)
    assert torch.equal(found, torch.stack([batches(Minibatches(2), key, 6, 6) for key in keys(8)]))
    assert len({tuple(order.flatten().tolist()) for order in found}) == 8


def test_each_order_is_about_as_frequent():
    """Three examples have six orders; 600 episodes: 100 each, within five deviations of 9.1."""
    orders = [tuple(batches(Minibatches(1), key, 3, 3).flatten().tolist()) for key in keys(600)]
    assert all(abs(orders.count(order) - 100) < 46 for order in set(orders))
    assert len(set(orders)) == 6
