"""Adaptation at evaluation: steps, batch-norm statistics, and that nothing is changed by it."""

from itertools import combinations

import pytest
import torch
from problems import (
    FakeSource,
    Line,
    conv4,
    deep,
    double,
    evaluated,
    image_batch,
    images,
    learner,
    points,
)

from maml_cli.core.norms import BatchStats
from maml_cli.core.types import Episode
from maml_cli.inner import norm_policies

CONV4 = conv4()
MODES = ["batch", "support", "support_and_query", "running"]


def float_batch(tasks=2, ways=3, shots=2, queries=2):
    batch = image_batch(tasks, ways, shots, queries, images(ways))
    return batch._replace(support_x=batch.support_x.float(), query_x=batch.query_x.float())


@pytest.mark.parametrize("engine", ["loop", "threads", "vmap"])
def test_outputs_after_each_step_of_a_quadratic(engine):
    # w_k = 1 + 0.8^k * 2, also beyond the two steps of training
    found = learner(Line(), FakeSource(), inner_steps=2, engine=engine)
    outputs = found.predict(found.init(0), points((1.0, 9.0)), evaluated(range(4), "batch"))
    torch.testing.assert_close(outputs.flatten(), torch.tensor([3.0, 2.6, 2.28, 2.024]))
    assert outputs.shape == (1, 4, 1, 1)


def test_steps_beyond_training_repeat_the_last_learned_rate():
    found = learner(Line(), FakeSource(), inner_steps=2, lslr=True)
    params = found.init(0)
    params.theta["inner_lr.head.weight"].copy_(torch.tensor([0.1, 0.25]))
    # 3 -> 3 - 0.2 * 2 = 2.6 -> 2.6 - 0.5 * 1.6 = 1.8 -> 1.8 - 0.5 * 0.8 = 1.4
    outputs = found.predict(params, points((1.0, 9.0)), evaluated(range(4), "batch"))
    torch.testing.assert_close(outputs.flatten(), torch.tensor([3.0, 2.6, 1.8, 1.4]))


@pytest.mark.parametrize(
    ("after", "expected"), [([0], [3.0]), ([3], [2.024]), ([0, 2], [3.0, 2.28]), ([1], [2.6])]
)
def test_queries_are_asked_after_the_wanted_steps_only(after, expected):
    found = learner(Line(), FakeSource(), inner_steps=2)
    outputs = found.predict(found.init(0), points((1.0, 9.0)), evaluated(after, "batch"))
    torch.testing.assert_close(outputs.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("engine", ["loop", "threads", "vmap"])
def test_evaluation_changes_nothing_and_repeats(mode, engine):
    found = learner(
        CONV4, images(3), bn_stats="running", bnrs=True, bnwb=True, lslr=True, engine=engine
    )
    params, batch = found.init(0), float_batch()
    before = {n: t.clone() for n, t in {**params.theta, **params.state}.items()}
    first = found.predict(params, batch, evaluated(range(3), mode))
    again = found.predict(params, batch, evaluated(range(3), mode))
    assert torch.equal(first, again)
    after = {**params.theta, **params.state}
    assert all(torch.equal(after[n], t) for n, t in before.items())
    assert not first.requires_grad


@pytest.mark.parametrize(
    ("mode", "alone"),
    [("batch", False), ("support", True), ("support_and_query", True), ("running", True)],
)
def test_queries_see_each_other_only_by_batch_statistics(mode, alone):
    found = learner(CONV4, images(3), bn_stats="running")
    params, batch = found.init(0), float_batch()
    whole = found.predict(params, batch, evaluated(range(3), mode))
    half = batch._replace(query_x=batch.query_x[:, :3], query_y=batch.query_y[:, :3])
    part = found.predict(params, half, evaluated(range(3), mode))
    assert torch.allclose(whole[:, :, :3], part, atol=1e-4) == alone


def test_the_modes_differ():
    found = learner(CONV4, images(3), bn_stats="running")
    params, batch = found.init(0), float_batch()
    outputs = [found.predict(params, batch, evaluated(range(3), mode))[:, -1] for mode in MODES]
    for one, other in combinations(outputs, 2):
        assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("engine", ["loop", "threads", "vmap"])
def test_the_order_of_queries_and_of_the_support_set_does_not_matter(mode, engine):
    found = learner(CONV4, images(3), engine=engine, bn_stats="running")
    params, batch = double(found.init(0)), image_batch(2, 3, 2, 2, images(3))
    straight = found.predict(params, batch, evaluated(range(3), mode))
    turned = Episode(*(f.flip(1) for f in batch[:4]), batch.classes, batch.key)
    back = found.predict(params, turned, evaluated(range(3), mode)).flip(2)
    torch.testing.assert_close(straight, back, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("engine", ["loop", "threads", "vmap"])
def test_a_query_with_the_support_set_is_the_last_of_one_batch(engine, monkeypatch):
    """Against passes written out: the network on the support set and one query, for every query."""
    monkeypatch.setattr(
        norm_policies, "EXAMPLES_AT_ONCE", 20
    )  # in more than one go: 7 + 7 + 7 > 20
    found = learner(CONV4, images(3), engine=engine, bn_stats="running")
    params, batch = double(found.init(0)), image_batch(2, 3, 2, 5, images(3))
    outputs = found.predict(params, batch, evaluated(range(1), "support_and_query"))[:, 0]
    theta = deep(params).theta["model"]
    network = CONV4.build(images(3).input_shape)
    for task in range(2):
        for query in range(15):
            images_seen = torch.cat([batch.support_x[task], batch.query_x[task, query : query + 1]])
            expected = network.outputs(theta, images_seen, BatchStats())[-1]
            torch.testing.assert_close(outputs[task, query], expected, rtol=1e-9, atol=1e-11)


def test_support_statistics_of_the_support_set_itself_are_batch_statistics():
    found = learner(CONV4, images(3), bn_stats="running")
    params, batch = found.init(0), float_batch()
    same = batch._replace(query_x=batch.support_x, query_y=batch.support_y)
    outputs = [
        found.predict(params, same, evaluated(range(3), mode)) for mode in ("batch", "support")
    ]
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_engines_agree(mode):
    # in float64: in float32 an activation within rounding of zero may fall on either side of it
    params = double(learner(CONV4, images(3), bn_stats="running").init(0))
    batch = image_batch(2, 3, 2, 2, images(3))
    loop, threads, vmap = (
        learner(CONV4, images(3), engine=e, bn_stats="running").predict(
            params, batch, evaluated(range(3), mode)
        )
        for e in ("loop", "threads", "vmap")
    )
    torch.testing.assert_close(loop, threads, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loop, vmap, rtol=1e-10, atol=1e-12)
