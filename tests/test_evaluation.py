"""Which inner steps an evaluation scores."""

import pytest

from maml_cli.runs.evaluation import steps_to_score


@pytest.mark.parametrize(
    ("steps", "scored"),
    [
        (0, (0,)),
        (1, (0, 1)),
        (10, tuple(range(11))),
        (11, (*range(12),)),
        (20, (*range(11), 20)),
        (50, (*range(11), 20, 50)),
        (64, (*range(11), 20, 50, 64)),
        (1000, (*range(11), 20, 50, 100, 200, 500, 1000)),
    ],
)
def test_each_of_ten_steps_is_scored_then_some_and_the_last(steps, scored):
    assert steps_to_score(steps) == scored
