"""From the outputs of tasks to those of a batch, by the rule declared for each section."""

import pytest
import torch
from torch.utils._pytree import tree_map

from maml_cli.core.algorithm import TaskStep
from maml_cli.core.merging import merged, merged_shares, merged_stack, parted

RULES = {"statistics": "mean", "counters": "last", "table": "rows"}


def task(number):
    """What task number 0, 1, ... says: integers beside floating-point numbers."""
    return TaskStep(
        {"model": {"w": torch.tensor([number, 2.0 * number])}},
        {
            "log": {"loss": torch.tensor(10.0 * number)},
            "statistics": {"mean": torch.tensor([1.0 + number])},
            "counters": {"seen": torch.tensor(100 + number)},
            "table": {"classes": torch.tensor([number, 7]), "score": torch.tensor(number / 2)},
        },
    )


TASKS = [task(i) for i in range(5)]
EXPECTED = TaskStep(
    {"model": {"w": torch.tensor([2.0, 4.0])}},
    {
        "log": {"loss": torch.tensor(20.0)},
        "statistics": {"mean": torch.tensor([3.0])},
        "counters": {"seen": torch.tensor(104)},
        "table": {
            "classes": torch.tensor([[0, 7], [1, 7], [2, 7], [3, 7], [4, 7]]),
            "score": torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0]),
        },
    },
)


def stacked(steps):
    return tree_map(lambda *tensors: torch.stack(tensors), *steps)


def same(found, expected=EXPECTED):
    torch.testing.assert_close(found.gradient, expected.gradient)
    torch.testing.assert_close(found.outputs, expected.outputs)


def test_one_after_the_other():
    same(merged(iter(TASKS), RULES))


def test_all_at_once():
    same(merged_stack(stacked(TASKS), RULES))


@pytest.mark.parametrize("sizes", [(5,), (3, 2), (2, 3), (1, 1, 3), (1, 1, 1, 1, 1)])
def test_by_shares_of_any_sizes(sizes):
    ends = torch.tensor(sizes).cumsum(0).tolist()
    shares = [TASKS[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    weights = [size / 5 for size in sizes]
    same(merged_shares([merged(share, RULES) for share in shares], weights, RULES))


def test_of_one_task():
    only = task(3)
    found = merged([only], RULES)
    assert torch.equal(found.gradient["model"]["w"], only.gradient["model"]["w"])
    assert torch.equal(found.outputs["table"]["classes"], torch.tensor([[3, 7]]))
    assert found.outputs["counters"]["seen"].item() == 103


def test_what_ranks_sum_and_what_they_gather():
    means, others = parted(EXPECTED, RULES)
    assert means.gradient is EXPECTED.gradient
    assert set(means.outputs) == {"log", "statistics"}
    assert set(others) == {"counters", "table"}


WAYS = {
    "one by one": lambda rules: merged(TASKS, rules),
    "at once": lambda rules: merged_stack(stacked(TASKS), rules),
    "shares": lambda rules: merged_shares([merged(TASKS, RULES)], [1.0], rules),
    "ranks": lambda rules: parted(EXPECTED, rules),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_undeclared_section_is_named(way):
    rules = {name: rule for name, rule in RULES.items() if name != "counters"}
    with pytest.raises(TypeError, match=r"section 'counters'.*add 'counters': 'mean'"):
        WAYS[way](rules)


@pytest.mark.parametrize("way", ["one by one", "at once"])
def test_a_mean_of_integers_is_refused(way):
    with pytest.raises(TypeError, match=r"counters\.seen is torch\.int64.*'last' or 'rows'"):
        WAYS[way](RULES | {"counters": "mean"})
