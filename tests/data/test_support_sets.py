"""Support sets of which some classes have more examples than others."""

import pytest

from maml_cli.data.support_sets import MOST_SETS, balanced_sets, large_sets, stacked


def test_each_set_has_as_many_of_each_class_and_the_next_one_the_next_examples() -> None:
    sets = balanced_sets([3, 1, 2])
    assert stacked(sets).tolist() == [[0, 3, 4], [1, 3, 5], [2, 3, 4]]


def test_equal_classes_are_one_set_of_all() -> None:
    assert stacked(balanced_sets([2, 2])).tolist() == [[0, 1, 2, 3]]
    assert stacked(large_sets([2, 2])).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("counts", [[100, 1, 7, 12], [25, 24], [11, 1], [4, 3, 2]])
def test_together_they_hold_every_example_and_are_not_many(counts: list[int]) -> None:
    sets = balanced_sets(counts)
    assert len(sets) <= MOST_SETS
    assert set(stacked(sets).flatten().tolist()) == set(range(sum(counts)))
    sizes = {tuple(map(len, rows)) for rows in sets}
    assert len(sizes) == 1
    assert max(max(sizes)) < 2 * min(min(sizes))


def test_the_whole_set_repeats_smaller_classes_as_a_whole() -> None:
    assert stacked(large_sets([5, 2])).tolist() == [[0, 1, 2, 3, 4, 5, 6, 5, 6]]


def test_more_than_can_be_read_at_once_are_several_sets_of_equal_size() -> None:
    """Of 5 examples, at most 4 at once: 3, and 2 with the first again."""
    sets = stacked(large_sets([5, 1], most=4))
    assert sets.tolist() == [[0, 1, 2, 5, 5, 5], [3, 4, 0, 5, 5, 5]]
    assert stacked(large_sets([4, 4], most=4)).tolist() == [list(range(8))]
    assert len(large_sets([12, 12], most=1)) == 6  # two at once, or they were more than MOST_SETS
