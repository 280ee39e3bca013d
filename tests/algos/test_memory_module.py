"""The memory by hand: what is merged, what is replaced, what grows old; the margin loss."""

import pytest
import torch

from maml_cli.readers.lessons import Stream, Task
from maml_cli.readers.nearest_keys import (
    Memory,
    NearestKeys,
    empty,
    margin_loss,
    nearest_of_each,
    written,
)
from maml_cli.readers.sequences import Examples, all_shown

QUERY = torch.tensor([[1.0, 0.0]])


def two_slots():
    """Keys (0.6, 0.8) of class 3, and (0, 1) of class 5, which is older."""
    return Memory(
        keys=torch.tensor([[0.6, 0.8], [0.0, 1.0]]),
        values=torch.tensor([3, 5]),
        ages=torch.tensor([4, 7]),
    )


def test_a_right_answer_merges_the_nearest_key():
    after = written(two_slots(), QUERY, torch.tensor([3]))
    assert after.keys[0].tolist() == pytest.approx([0.894427, 0.447214], abs=1e-6)
    assert after.keys[1].tolist() == [0, 1]
    assert after.values.tolist() == [3, 5]
    assert after.ages.tolist() == [0, 8]


@pytest.mark.parametrize("label", [5, 9])  # of another slot than the nearest, and of none
def test_a_wrong_answer_replaces_the_oldest_slot(label):
    after = written(two_slots(), QUERY, torch.tensor([label]))
    assert after.keys.flatten().tolist() == pytest.approx([0.6, 0.8, 1, 0])
    assert after.values.tolist() == [3, label]
    assert after.ages.tolist() == [5, 0]


def test_an_empty_memory_takes_the_query_itself():
    after = written(empty(3, QUERY), QUERY, torch.tensor([0]))
    assert after.keys.tolist() == [[1, 0], [0, 0], [0, 0]]
    assert after.values.tolist() == [0, -1, -1]
    assert after.ages.tolist() == [0, 1, 1]


def test_rows_that_are_wrong_at_once_take_the_oldest_in_turn():
    """The first row is right; the second takes the second oldest, as the official code does."""
    memory = Memory(
        keys=torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]),
        values=torch.tensor([0, 1, 2]),
        ages=torch.tensor([1, 9, 5]),
    )
    after = written(memory, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 7]))
    assert after.values.tolist() == [0, 1, 7]
    assert after.ages.tolist() == [0, 10, 0]


def test_of_two_rows_for_one_slot_the_later_has_it():
    both = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    after = written(two_slots(), both, torch.tensor([3, 3]))
    middle = torch.tensor([1.4, 1.4]) / torch.tensor([1.4, 1.4]).norm()
    torch.testing.assert_close(after.keys[0], middle)


def test_answers_are_the_largest_cosine_of_each_class():
    memory = Memory(torch.eye(2).repeat(2, 1), torch.tensor([0, 0, -1, 2]), torch.zeros(4))
    found = nearest_of_each(memory, torch.tensor([[0.6, 0.8], [-1.0, 0.0]]), 4)
    assert found.tolist() == [
        pytest.approx([0.8, -1.0, 0.8, -1.0]),
        pytest.approx([0.0, -1.0, 0.0, -1.0]),
    ]


@pytest.mark.parametrize(
    ("outputs", "loss", "slopes"),
    [
        ([0.6, 0.8], 0.3, [-1, 1]),
        ([0.9, 0.2], 0.0, [0, 0]),
        ([-1.0, 0.5], 0.6, [0, 1]),  # no slot of the right class
        ([0.05, -1.0], 0.05, [-1, 0]),  # none of a wrong one
    ],
)
def test_margin_loss(outputs, loss, slopes):
    outputs = torch.tensor([outputs], requires_grad=True)
    found = margin_loss(outputs, torch.tensor([0]))
    found.backward()
    assert found.item() == pytest.approx(loss, abs=1e-6)
    assert outputs.grad.tolist() == [slopes]


def reader_of(ways=2, slots=None):
    reader = NearestKeys(width=2, ways=ways, slots=slots)
    return reader, {"projection": torch.eye(2)}


def test_no_gradient_reaches_what_was_read():
    """The answer to (0, 2) from the key (0.6, 0.8) is 0.8; only the query's side has a slope."""
    reader, params = reader_of()
    support = torch.tensor([[3.0, 4.0]], requires_grad=True)
    query = torch.tensor([[0.0, 2.0]], requires_grad=True)
    examples = Examples(support, torch.tensor([0]), all_shown(support))
    answer = reader.answer(params, reader.read(params, examples, None), query)
    answer[0, 0].backward()
    assert answer[0].tolist() == pytest.approx([0.8, -1.0])
    assert support.grad is None
    # d/dx of (0.6 x + 0.8 y) / |(x, y)| at (0, 2): 0.6 / 2 along x, nothing along y
    assert query.grad[0].tolist() == pytest.approx([0.3, 0.0], abs=1e-6)


def test_a_stream_answers_before_it_writes():
    reader, params = reader_of()
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = reader.stream(params, Examples(x, torch.tensor([0, 1, 0]), all_shown(x)))
    assert found.tolist() == [[-1, -1], [0, -1], [1, 0]]


def test_tasks_that_share_a_memory_are_told_apart():
    """Two rows of streams; the first answers of the second step see what both rows wrote."""
    reader, params = reader_of()
    x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    found = reader.beside_each_other(params, x, torch.tensor([[0, 2], [0, 2]]), 4)
    assert found[0].tolist() == [[-1] * 4, [-1] * 4]
    assert found[1].tolist() == [[1, -1, 0, -1], [0, -1, 1, -1]]


def test_rounds_show_each_class_once_before_any_twice():
    y = torch.tensor([0, 0, 1, 1, 2, 2])
    x = y.unsqueeze(1).float()
    support = Examples(x, y, all_shown(x))
    for key in range(20):
        task = Task(support, support, torch.tensor([key, 5]))
        labels = Stream(in_rounds=True).sequence(task).y.view(4, 3)
        assert torch.equal(labels.sort(1).values, torch.arange(3).expand(4, -1))
