"""The metric by paper and pencil."""

import math

import torch

from maml_cli.core.objective import CLASSIFICATION


def test_accuracy_counts_right_answers():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [-1.0, -2.0]])
    assert CLASSIFICATION.metric(logits, torch.tensor([0, 1, 1, 0])).item() == 0.75


def test_an_output_that_is_not_finite_is_no_answer():
    logits = torch.tensor([[math.nan, math.nan], [math.inf, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert CLASSIFICATION.metric(logits, torch.tensor([0, 0, 0, 0])).item() == 0.25
