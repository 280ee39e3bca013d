import pytest
from problems import at_epoch

from maml_cli.inner.outer_loss import last_step, multi_step


def test_multi_step_weights_start_equal():
    assert multi_step(5, 10, at_epoch(0)) == pytest.approx([0.2] * 5)


def test_multi_step_weights_anneal_per_epoch():
    # S = 5, E = 10, e = 4: d = 1/50, early ones 0.2 - 0.08 = 0.12, last 0.2 + 4 * 4 / 50 = 0.52
    assert multi_step(5, 10, at_epoch(4)) == pytest.approx([0.12] * 4 + [0.52])


def test_multi_step_weights_do_not_fall_below_their_floor():
    # S = 5, E = 100, e = 99: 0.2 - 99/500 = 0.002 is below 0.03/5 = 0.006; last 1 - 4 * 0.006
    assert multi_step(5, 100, at_epoch(99)) == pytest.approx([0.006] * 4 + [0.976])


def test_multi_step_weights_end_at_the_last_step_alone():
    assert multi_step(5, 10, at_epoch(10)) == (0, 0, 0, 0, 1)


def test_one_step_has_all_the_weight():
    assert multi_step(1, 10, at_epoch(3)) == (1.0,)
    assert last_step(1) == (1.0,)
    assert last_step(3) == (0, 0, 1)
