"""A pool of fixed training tasks: the same tasks in turn, each visit with a key of its own."""

import pytest
import torch
from problems import shipped

from maml_cli.core.objective import REGRESSION
from maml_cli.core.types import Episode
from maml_cli.data.sampler import episode_keys
from maml_cli.data.task_pool import runs_of, training_source
from maml_cli.training.batches import Batches


class Numbers:
    """Episode i holds the number i in all its fields but the key."""

    objective = REGRESSION
    input_shape = (1,)
    output_size = 1
    train_classes = 7
    remarks = ("a remark",)

    def episodes(self, split, start, count):
        numbers = torch.arange(start, start + count).view(-1, 1)
        keys = torch.from_numpy(episode_keys(3, split, start, count))
        return Episode(*[numbers] * 5, keys)

    def curve_episodes(self, count):
        return self.episodes("test", 0, count)


@pytest.mark.parametrize(
    ("size", "start", "count", "tasks"),
    [
        (5, 0, 4, [0, 1, 2, 3]),
        (5, 3, 4, [3, 4, 0, 1]),  # around the end
        (5, 5, 5, [0, 1, 2, 3, 4]),
        (5, 12, 3, [2, 3, 4]),
        (3, 8, 8, [2, 0, 1, 2, 0, 1, 2, 0]),  # a batch larger than the pool
        (1, 6, 3, [0, 0, 0]),
        (200_000, 10**12 - 1, 2, [199_999, 0]),
    ],
)
def test_training_episode_i_is_task_i_modulo_the_size_with_key_i(size, start, count, tasks):
    pool = training_source(Numbers(), size, seed=3)
    *fields, key = pool.episodes("train", start, count)
    for field in fields:
        assert field.flatten().tolist() == tasks
    assert key.tolist() == episode_keys(3, "train", start, count).tolist()
    assert len(key.unique(dim=0)) == count


def test_runs_are_as_long_as_they_can_be():
    assert list(runs_of(3, 4, 5)) == [(3, 2), (0, 2)]
    assert list(runs_of(7, 3, 100)) == [(7, 3)]


def test_validation_and_test_are_endless_and_the_rest_is_the_source_s():
    source = Numbers()
    pool = training_source(source, 2, seed=3)
    for split in ("val", "test"):
        for one, other in zip(
            pool.episodes(split, 1, 4), source.episodes(split, 1, 4), strict=True
        ):
            assert torch.equal(one, other)
    assert pool.curve_episodes(3).classes.flatten().tolist() == [0, 1, 2]
    assert pool.objective is source.objective
    for name in ("input_shape", "output_size", "train_classes", "remarks"):
        assert getattr(pool, name) == getattr(source, name)


def test_without_a_size_it_is_the_source_itself():
    source = Numbers()
    assert training_source(source, None, seed=3) is source


def test_waves_and_their_noise_come_back_with_other_keys(run_settings):
    run = run_settings(ways=1, shots=5, queries=5, seed=9)
    source = shipped("dataset", "sinusoid", noise=0.1).load(run, torch.device("cpu"))
    pool = training_source(source, 4, run.seed)
    endless, again = source.episodes("train", 0, 4), pool.episodes("train", 8, 4)
    assert all(torch.equal(one, other) for one, other in zip(endless[:5], again[:5], strict=True))
    assert torch.equal(again.key, source.episodes("train", 8, 4).key)
    assert not torch.equal(again.key, endless.key)


@pytest.mark.parametrize("pool", [None, 7])
def test_batches_of_noisy_curves_are_the_same_to_the_last_bit(run_settings, pool):
    run = run_settings(ways=1, shots=5, queries=5, seed=9)
    curves = shipped("dataset", "sinusoid", noise=0.1).load(run, torch.device("cpu"))
    source = training_source(curves, pool, run.seed)
    drawn = Batches(source, 3)
    for number in (0, 1, 40, 700):
        expected = source.episodes("train", 3 * number, 3)
        assert all(torch.equal(a, b) for a, b in zip(drawn.at(number), expected, strict=True))
