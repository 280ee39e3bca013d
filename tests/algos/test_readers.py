"""The contract of learners that read: each query alone, and labels from the labels alone."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from problems import TRAIN, FakeSource, at_epoch, double, images, keys, shipped

from maml_cli.core.algorithm import flat
from maml_cli.core.types import Episode, Evaluation
from maml_cli.readers.sequences import Examples, reading_order, rounds
from maml_cli.testing import ENGINES

SIDE, WAYS, SHOTS = 4, 2, 2
SOURCE = images(WAYS, side=SIDE)
ALONE = Evaluation((0,), "support")
READERS = {
    "snail": {"embedding": 8, "filters": 8, "max_shots": 2},
    "in_context": {"width": 16, "heads": 2, "layers": 2},
    "mann": {"units": 16, "slots": 8, "width": 8, "heads": 1},
    "memory_module": {"rep_dim": 8},
    "meta_networks": {},
}
"""Small settings of each."""
LAYERED = {"filters": 4, "blocks": [[1]], "hidden": [8]}
BACKBONES = {"meta_networks": ("plain_conv_meta_networks", LAYERED)}
STEPS = {"snail": 60, "in_context": 60, "mann": 150, "memory_module": 20, "meta_networks": 25}
RATES = {
    "snail": 0.003,
    "in_context": 0.003,
    "mann": 0.01,
    "memory_module": 0.003,
    "meta_networks": 0.01,
}
TASKS = 6


def engine_of(case):
    name, form = BACKBONES.get(case, ("pixels", {}))
    network = shipped("backbone", name, **form).build(SOURCE.input_shape)
    return ENGINES["graph"](shipped("algo", case, **READERS[case]).build(network, SOURCE, TRAIN))


def easy(start, tasks, shots=SHOTS):
    """Tasks of two pictures, the upper or lower half lit; either of them may be class 0."""
    generator = torch.Generator().manual_seed(start)
    upper = torch.full((1, SIDE, SIDE), -1.0)
    upper[:, : SIDE // 2] = 1.0
    turned = torch.randint(2, (tasks, 1), generator=generator)

    def half(per_class):
        y = torch.arange(WAYS).repeat_interleave(per_class).expand(tasks, -1)
        return torch.stack([upper, -upper])[y ^ turned], y

    key = torch.randint(2**40, (tasks, 2), generator=generator)
    return Episode(*half(shots), *half(2), torch.arange(WAYS).expand(tasks, -1), key)


@cache
def trained(case):
    """An engine and parameters after a short training on easy tasks."""
    torch.manual_seed(0)
    engine = engine_of(case)
    params = engine.algorithm.init(0)
    theta = flat(params.theta)
    optimizer = torch.optim.Adam(theta.values(), lr=RATES[case])
    for step in range(STEPS[case]):
        found = engine.meta_gradient(params, easy(step, TASKS), at_epoch(0))
        for name, gradient in flat(found.gradient).items():
            theta[name].grad = gradient
        optimizer.step()
    return engine, params


def answers(case, episode):
    """Outputs `(tasks, queries, ways)`, each query normalised by the support set."""
    engine, params = trained(case)
    return engine.predict(params, episode, ALONE)[:, 0, 0]


@pytest.mark.parametrize("case", READERS)
def test_easy_tasks_are_learned(case):
    episode = easy(10_000, 50)
    right = answers(case, episode).argmax(-1) == episode.query_y
    assert right.float().mean() > 0.95


@pytest.mark.parametrize("case", READERS)
def test_each_query_is_answered_as_if_it_were_the_only_one(case):
    episode = easy(10_001, 4)
    all_of_them = answers(case, episode)
    turned = answers(case, episode._replace(query_x=episode.query_x.flip(1)))
    torch.testing.assert_close(turned, all_of_them.flip(1), rtol=1e-4, atol=1e-5)
    first = answers(case, episode._replace(query_x=episode.query_x[:, :1]))
    torch.testing.assert_close(first, all_of_them[:, :1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", READERS)
def test_swapped_labels_swap_the_answers(case):
    """What sees places in a sorted order, instead of labels, answers as before."""
    episode = easy(10_002, 50)
    swapped = episode._replace(support_y=1 - episode.support_y)
    right = answers(case, swapped).argmax(-1) == 1 - episode.query_y
    assert right.float().mean() > 0.95


@pytest.mark.parametrize("case", READERS)
def test_the_last_label_that_is_read_counts(case):
    episode = easy(10_003, 8)
    order = torch.func.vmap(lambda *fields: reading_order(Episode(*fields), mixed_shots=False))
    last = order(*episode).places[:, -1:]
    other = episode.support_y.scatter(1, last, 1 - episode.support_y.gather(1, last))
    changed = (answers(case, episode) - answers(case, episode._replace(support_y=other))).abs()
    assert (changed.amax((1, 2)) > 1e-4).all()


@pytest.mark.parametrize("case", READERS)
def test_an_answer_repeats_and_other_numbers_of_shots_are_read(case):
    episode = easy(10_004, 3, shots=1)
    assert torch.equal(answers(case, episode), answers(case, episode))


def test_every_label_is_read_at_every_place_equally_often():
    """Of 600 episodes with 4 examples of 2 classes, each place has class 0 in about 300."""
    order = torch.func.vmap(lambda *fields: reading_order(Episode(*fields), mixed_shots=False))
    episode = easy(1, 600)
    zeros = (episode.support_y.gather(1, order(*episode).places) == 0).sum(0)
    assert zeros.sum() == 1200
    assert (zeros - 300).abs().max() < 50  # four standard deviations


def test_mixed_shots_show_every_number_of_shots_after_what_is_not_shown():
    order = torch.func.vmap(lambda *fields: reading_order(Episode(*fields), mixed_shots=True))
    episode = easy(1, 600, shots=3)
    places, shown = order(*episode)
    labels = episode.support_y.gather(1, places)
    of_each = torch.stack([(shown & (labels == k)).sum(1) for k in range(WAYS)])
    assert torch.equal(of_each[0], of_each[1])
    counts = of_each[0].bincount(minlength=4)
    assert counts[0] == 0
    assert (counts[1:] - 200).abs().max() < 50
    assert (shown.long().diff(dim=1) >= 0).all()
    assert torch.equal(places.sort(1).values, torch.arange(6).expand(600, -1))


def test_curves_may_be_read_from_no_point_at_all():
    fields = [torch.zeros(600, 2, 1)] * 4 + [torch.zeros(600, 1, dtype=torch.int64)]
    key = torch.randint(2**40, (600, 2), generator=torch.Generator().manual_seed(0))
    order = torch.func.vmap(lambda *fields: reading_order(Episode(*fields), mixed_shots=True))
    counts = order(*fields, key).shown.sum(1).bincount()
    assert (counts - 200).abs().max() < 50


def test_a_curve_is_answered_without_any_support_point():
    source = FakeSource()
    network = shipped("backbone", "mlp", hidden=[4]).build((1,))
    settings = shipped("algo", "in_context", width=8, heads=2, layers=1)
    engine = ENGINES["loop"](settings.build(network, source, TRAIN))
    at = torch.tensor([[[0.5], [2.0]]])
    nothing = at[:, :0]
    episode = Episode(nothing, nothing, at, at, torch.zeros(1, 1).long(), keys(1))
    found = engine.predict(engine.algorithm.init(0), episode, ALONE)
    assert found.shape == (1, 1, 1, 2, 1)
    assert found.isfinite().all()


def test_rounds_count_earlier_examples_of_the_label():
    assert rounds(torch.tensor([2, 0, 2, 2, 0, 1])).tolist() == [0, 0, 1, 2, 1, 0]
    assert rounds(torch.tensor([[0.5], [0.5], [0.1]])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("case", ["snail", "in_context"])
def test_what_is_not_shown_changes_nothing(case):
    """Three examples, the first of them hidden, are read as the two others alone."""
    algorithm = engine_of(case).algorithm
    params = double(replace(algorithm.init(0), theta=flat(algorithm.init(0).theta)))
    weights = {n.removeprefix("reader."): t for n, t in params.theta.items() if "reader." in n}
    size = algorithm.embedding.size
    x = torch.randn(5, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = torch.tensor([0, 1, 0])
    reader, make = algorithm.reader, Examples
    with_hidden = reader.read(weights, make(x[:3], y, torch.tensor([False, True, True])), None)
    without = reader.read(weights, make(x[1:3], y[1:], torch.tensor([True, True])), None)
    found = [reader.answer(weights, memory, x[3:]) for memory in (with_hidden, without)]
    torch.testing.assert_close(*found)
