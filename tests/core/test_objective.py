"""Metric and loss by paper and pencil."""

import math
from itertools import combinations

import pytest
import torch

from maml_cli.core.objective import CLASSIFICATION, class_balanced


def test_accuracy_counts_right_answers():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [-1.0, -2.0]])
    assert CLASSIFICATION.metric(logits, torch.tensor([0, 1, 1, 0])).item() == 0.75


def test_an_output_that_is_not_finite_is_no_answer():
    logits = torch.tensor([[math.nan, math.nan], [math.inf, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert CLASSIFICATION.metric(logits, torch.tensor([0, 0, 0, 0])).item() == 0.25


def test_a_class_with_more_examples_does_not_count_more():
    balanced = class_balanced([2, 1])
    logits, labels = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, 0.0]]), [0, 0, 1]
    # cross-entropies: ln 2, ln 4/3, ln 2; the mean over classes is ((ln 2 + ln 4/3) / 2 + ln 2) / 2
    expected = (math.log(2) / 2 + math.log(4 / 3) / 2 + math.log(2)) / 2
    support_loss = balanced.support_loss(logits, torch.tensor(labels))
    assert support_loss.item() == pytest.approx(expected, rel=1e-6)
    assert balanced.loss is CLASSIFICATION.loss  # of the queries


def test_minibatches_have_the_balanced_loss_as_their_mean():
    balanced = class_balanced([3, 1]).support_loss
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1])
    halves = [balanced(logits[list(two)], labels[list(two)]) for two in combinations(range(4), 2)]
    assert sum(halves) / 6 == pytest.approx(balanced(logits, labels).item())


def test_equal_numbers_change_no_bit():
    assert class_balanced([5, 5, 5]) is CLASSIFICATION
    assert CLASSIFICATION.support_loss is CLASSIFICATION.loss
