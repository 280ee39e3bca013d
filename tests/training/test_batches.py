"""A batch has the episodes of the source, however many are drawn at once."""

import pytest
import torch

from maml_cli.core.types import Episode
from maml_cli.training import batches
from maml_cli.training.batches import Batches

TASKS = 3


class Counted:
    """Episode i holds the number i, and each draw is noted."""

    def __init__(self):
        self.draws = []

    def episodes(self, split, start, count):
        self.draws.append((split, start, count))
        return Episode(*[torch.arange(start, start + count).view(-1, 1)] * 6)


@pytest.mark.parametrize("together", [1, 2, 5])
def test_batch_n_has_the_episodes_of_its_number(monkeypatch, together):
    monkeypatch.setattr(batches, "NUMBERS_TOGETHER", together * 6 * TASKS)
    source = Counted()
    drawn = Batches(source, TASKS)
    for number in (0, 1, 1, 2, 7, 6, 0, 23):  # a run may go on anywhere, or see a batch again
        for field in drawn.at(number):
            assert field.flatten().tolist() == [3 * number, 3 * number + 1, 3 * number + 2]
    assert {split for split, _, _ in source.draws} == {"train"}


def test_small_batches_are_drawn_together_and_large_ones_alone(monkeypatch):
    monkeypatch.setattr(batches, "NUMBERS_TOGETHER", 4 * 6 * TASKS)
    small, large = Counted(), Counted()
    drawn = Batches(small, TASKS), Batches(large, 3 * TASKS)
    for number in range(8):
        for each in drawn:
            each.at(number)
    assert small.draws == [("train", 0, 3), ("train", 0, 12), ("train", 12, 12)]
    assert large.draws == [("train", 9 * number, 9) for number in range(8)]
