"""Which inner steps an evaluation scores."""

import pytest
import torch

from maml_cli.core.objective import CLASSIFICATION
from maml_cli.core.types import Episode
from maml_cli.runs.evaluation import evaluate, steps_to_score


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


class Counting:
    """An engine whose outputs say how many steps the network `params` had, as right answers."""

    def __init__(self):
        self.asked = []

    def predict(self, params, episodes, evaluation):
        self.asked.append((params, int(episodes.classes[0, 0]), evaluation.after))
        rows = [[params, step] for step in evaluation.after]
        right = torch.tensor(rows, dtype=torch.float32).prod(1) > 1
        outputs = torch.stack([~right, right], -1).float()
        return outputs.view(1, -1, 1, 1, 2).expand(len(episodes.classes), -1, 1, 2, 2)


class Numbered:
    """Episodes with their own number for a class; the right answer is always 1."""

    objective = CLASSIFICATION

    def episodes(self, split, start, count):
        nothing = torch.zeros(count, 2)
        labels = torch.ones(count, 2, dtype=torch.int64)
        classes = torch.arange(start, start + count).unsqueeze(1)
        return Episode(nothing, labels, nothing, labels, classes)


def evaluated(course_episodes):
    engine = Counting()
    scores = evaluate(
        engine,
        [1, 2],
        Numbered(),
        "test",
        episodes=50,
        steps=2,
        bn_stats="batch",
        course_episodes=course_episodes,
        on_progress=lambda _: None,
    )
    return engine, scores


def test_only_the_best_network_looks_at_the_queries_after_earlier_steps_and_only_at_first():
    engine, scores = evaluated(30)
    assert engine.asked == [
        *((1, 0, (0, 1, 2)), (2, 0, (2,))),
        *((1, 20, (0, 1, 2)), (2, 20, (2,))),
        *((1, 40, (2,)), (2, 40, (2,))),
    ]
    assert scores.steps == (2,)
    assert scores.single.tolist() == scores.ensemble.tolist() == [[1.0]] * 50
    assert scores.course_steps == (0, 1, 2)
    assert scores.course.tolist() == [[0.0, 0.0, 1.0]] * 30


def test_without_a_course_every_network_looks_once():
    engine, scores = evaluated(0)
    assert {after for *_, after in engine.asked} == {(2,)}
    assert scores.course.shape == (0, 3)
