"""The baselines for images against paper and pencil, and against torch's own modules."""

import math
from typing import ClassVar

import pytest
import torch
from problems import (
    FakeSource,
    Linear,
    at_epoch,
    built,
    conv4,
    double,
    evaluated,
    image_batch,
    images,
    shipped,
)
from torch import nn

from maml_cli.algos.classifier import by_class_number
from maml_cli.config import check
from maml_cli.core.objective import CLASSIFICATION
from maml_cli.core.types import Episode

ENGINES = ["loop", "threads", "vmap"]
MODES = ["batch", "support", "support_and_query", "running"]
PLANE = FakeSource((2,), 2, CLASSIFICATION, train_classes=3)


class Stretch(Linear):
    """A network without norms: its features of (a, b) are (a, 2 b)."""

    def __init__(self):
        super().__init__(2)

    def init(self, generator):
        return {"body.weight": torch.tensor([1.0, 2.0])}

    def features(self, params, x, norm):
        return params["body.weight"] * x


class Normed(Stretch):
    """The same features, normalised."""

    norms: ClassVar = {"body.norm": 2}

    def init(self, generator):
        norm = {"body.norm.weight": torch.ones(2), "body.norm.bias": torch.zeros(2)}
        return super().init(generator) | norm

    def features(self, params, x, norm):
        return norm("body.norm", super().features(params, x, norm), params)


def fine_tune(network, source, engine="loop", **changes):
    fields = {"inner_steps": 2, "inner_lr": 0.4} | changes
    return built(shipped("algo", "finetune", **fields), network, source, engine)


def nearest(network, source, engine="loop"):
    return built(shipped("algo", "nearest_neighbour"), network, source, engine)


def episode(support, support_y, query):
    """One task as a batch."""
    y = torch.zeros(1, len(query), dtype=torch.int64)
    classes, key = torch.tensor([[0, 1]]), torch.zeros(1, 2, dtype=torch.int64)
    return Episode(
        torch.tensor([support]), torch.tensor([support_y]), torch.tensor([query]), y, classes, key
    )


TWO_SHOTS = episode(
    # features (1, 0), (0, 2) | (1, 2), (-1, 0)
    [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]],
    [0, 0, 1, 1],
    # features (3, 0), (3, 2)
    [[3.0, 0.0], [3.0, 1.0]],
)
COSINES = torch.tensor(
    [
        [1.0, 1 / math.sqrt(5)],
        # (3, 2) is nearer to (1, 2) than to (1, 0); before stretching it was the other way round
        [3 / math.sqrt(13), 7 / math.sqrt(65)],
    ]
)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_s_outputs_are_the_cosines_to_the_nearest_example_of_each_class(engine):
    found = nearest(Stretch(), PLANE, engine)
    outputs = found.predict(found.init(0), TWO_SHOTS, evaluated(range(1), "batch"))
    torch.testing.assert_close(outputs, COSINES.view(1, 1, 2, 2))


def test_the_length_of_features_and_the_order_of_examples_do_not_matter():
    found = nearest(Stretch(), PLANE)
    order = [2, 0, 3, 1]
    other = TWO_SHOTS._replace(
        support_x=TWO_SHOTS.support_x[:, order],
        support_y=TWO_SHOTS.support_y[:, order],
        query_x=100 * TWO_SHOTS.query_x,
    )
    outputs = found.predict(found.init(0), other, evaluated(range(1), "batch"))
    torch.testing.assert_close(outputs, COSINES.view(1, 1, 2, 2))


def test_inner_steps_do_not_change_the_nearest_neighbour():
    found = nearest(Stretch(), PLANE)
    assert found.steps == 0
    outputs = found.predict(found.init(0), TWO_SHOTS, evaluated(range(3), "batch"))
    torch.testing.assert_close(outputs, COSINES.expand(1, 3, 2, 2))


ONE_SHOT = episode([[1.0, 0.0], [0.0, 1.0]], [0, 1], [[3.0, 1.0]])
# The zero head finds both classes equally likely, so one step at rate 0.4 makes its first row
# 0.4 * ((1 - 1/2) (1, 0) - 1/2 (0, 2)) / 2 = (0.1, -0.2), its second the opposite, its bias 0.
# On the query's features (3, 2) that is -0.1 and 0.1.
ONE_STEP = torch.tensor([-0.1, 0.1])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("adapts", [["head"], ["body", "head"]])
def test_fine_tuning_begins_with_a_head_of_zeros(engine, adapts):
    found = fine_tune(Stretch(), PLANE, engine, adapts=adapts)
    params = found.init(0)
    params.theta["model.head.weight"].fill_(7.0)  # of the three training classes
    params.theta["model.head.bias"].fill_(5.0)
    outputs = found.predict(params, ONE_SHOT, evaluated(range(2), "batch"))
    assert outputs.shape == (1, 2, 1, 2)
    assert not outputs[0, 0].any()
    torch.testing.assert_close(outputs[0, 1, 0], ONE_STEP)  # a zero head has no slope for the body


def test_the_body_adapts_if_asked_once_the_head_is_not_zero():
    head, both = (
        fine_tune(Stretch(), PLANE, adapts=a).predict(
            fine_tune(Stretch(), PLANE).init(0), ONE_SHOT, evaluated(range(3), "batch")
        )
        for a in (["head"], ["body", "head"])
    )
    assert torch.equal(head[0, :2], both[0, :2])
    assert not torch.allclose(head[0, 2], both[0, 2], atol=1e-3)


def test_labels_become_numbers_of_training_classes():
    batch = image_batch(2, 3, 2, 1, images(3))._replace(
        classes=torch.tensor([[40, 0, 6], [1, 40, 2]])
    )
    found = by_class_number(batch)
    assert found.support_y.tolist() == [[40, 40, 0, 0, 6, 6], [1, 1, 40, 40, 2, 2]]
    assert found.query_y.tolist() == [[40, 0, 6], [1, 40, 2]]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_gradient_is_that_of_one_classifier_on_all_pictures(engine):
    """torch.nn's modules on one batch of all pictures, whose batch norms keep statistics."""
    source = FakeSource((1, 16, 16), 3, CLASSIFICATION, train_classes=7)
    found = nearest(conv4(), source, engine)
    params = double(found.init(0))
    batch = image_batch(2, 3, 2, 1, source)._replace(classes=torch.tensor([[4, 0, 6], [1, 4, 2]]))
    step = found.meta_gradient(params, batch, at_epoch(0))

    layers = []
    for block in range(4):
        conv = nn.Conv2d(4 if block else 1, 4, 3, padding=1)
        layers += [conv, nn.BatchNorm2d(4), nn.LeakyReLU(0.01), nn.MaxPool2d(2)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 7)).double()
    for parameter, value in zip(network.parameters(), params.theta.values(), strict=True):
        parameter.data = value.clone()
    x = torch.cat([batch.support_x.flatten(0, 1), batch.query_x.flatten(0, 1)])
    y = torch.tensor([4, 4, 0, 0, 6, 6, 1, 1, 4, 4, 2, 2, 4, 0, 6, 1, 4, 2])
    outputs = network(x)
    loss = nn.CrossEntropyLoss()(outputs, y)
    loss.backward()

    torch.testing.assert_close(step.loss, loss.detach())
    expected = [p.grad for p in network.parameters()]
    for gradient, other in zip(step.gradient.values(), expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-8, atol=1e-12)
    queried = nn.CrossEntropyLoss()(outputs[12:], y[12:]).detach()
    torch.testing.assert_close(step.query_loss, queried.unsqueeze(0))
    assert step.query_metric.item() == pytest.approx(
        sum(outputs[12:].argmax(1) == y[12:]).item() / 6
    )
    norm = network[1]
    n = 18 * 16 * 16  # torch averages unbiased variances: 0.9 + 0.1 n / (n - 1) var
    var = 0.9 + (norm.running_var - 0.9) * (n - 1) / n
    torch.testing.assert_close(step.state["running.body.0.norm.mean"], norm.running_mean)
    torch.testing.assert_close(step.state["running.body.0.norm.var"], var)


@pytest.mark.parametrize("make", [nearest, fine_tune])
@pytest.mark.parametrize("mode", MODES)
def test_engines_agree_and_change_nothing(make, mode):
    source, batch = images(3), image_batch(2, 3, 2, 2, images(3))
    params = double(make(conv4(), source).init(0))
    before = {n: t.clone() for n, t in {**params.theta, **params.state}.items()}
    loop, threads, vmap = (
        make(conv4(), source, engine).predict(params, batch, evaluated(range(3), mode))
        for engine in ENGINES
    )
    assert loop.shape == (2, 3, 6, 3)
    torch.testing.assert_close(loop, threads, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(loop, vmap, rtol=1e-9, atol=1e-11)
    after = {**params.theta, **params.state}
    assert all(torch.equal(after[n], t) for n, t in before.items())


def moved(fields, row):
    """The same pictures but for one."""
    return fields.index_add(1, torch.tensor([row]), torch.full_like(fields[:, :1], 3.0))


@pytest.mark.parametrize("make", [nearest, fine_tune])
@pytest.mark.parametrize(
    ("mode", "seen"),
    [("batch", True), ("support", False), ("support_and_query", False), ("running", False)],
)
def test_other_queries_matter_by_batch_statistics_only(make, mode, seen):
    found, batch = make(Normed(), PLANE), image_batch(1, 2, 2, 2, PLANE)
    params = double(found.init(0))
    first, second = (
        found.predict(params, b, evaluated(range(2), mode))[0, -1, 0]
        for b in (batch, batch._replace(query_x=moved(batch.query_x, 3)))
    )
    assert torch.allclose(first, second, atol=1e-6) != seen


@pytest.mark.parametrize(
    ("mode", "seen"), [*((mode, True) for mode in MODES[:3]), ("running", False)]
)
def test_other_support_examples_move_a_cosine_but_not_by_running_statistics(mode, seen):
    found, batch = nearest(Normed(), PLANE), image_batch(1, 2, 1, 2, PLANE)
    params = double(found.init(0))
    first, second = (
        found.predict(params, b, evaluated([0], mode))[
            0, 0, 0, 0
        ]  # to class 0, whose example stays
        for b in (batch, batch._replace(support_x=moved(batch.support_x, 1)))
    )
    assert torch.allclose(first, second, atol=1e-6) != seen


def test_running_statistics_are_those_of_pretraining():
    """By hand: mean (1, 0) and variance (4, 1) turn features (a, 2 b) into ((a - 1) / 2, 2 b)."""
    found = nearest(Normed(), PLANE)
    params = found.init(0)
    params.state["running.body.norm.mean"].copy_(torch.tensor([1.0, 0.0]))
    params.state["running.body.norm.var"].copy_(torch.tensor([4.0, 1.0]))
    # the support examples become (0, 0.5) and (-0.5, 0), the query (0, 2)
    task = episode([[1.0, 0.25], [0.0, 0.0]], [0, 1], [[1.0, 1.0]])
    outputs = found.predict(params, task, evaluated(range(1), "running"))
    torch.testing.assert_close(outputs.flatten(), torch.tensor([1.0, 0.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["algo=finetune", "dataset=sinusoid"], "algo=finetune pretrains a classifier, but ways=1"),
        (
            ["algo=nearest_neighbour", "dataset=sinusoid"],
            "algo=nearest_neighbour pretrains a classifier, but ways=1",
        ),
        (["algo=nearest_neighbour", "eval.inner_steps=3"], "set eval.inner_steps=null"),
        (["algo=finetune", "algo.adapts=[body,norm]"], "add head"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(arguments, sentence):
    (problem,) = check.problems(arguments)
    assert sentence in problem
    assert problem.startswith("algo")


def test_the_baselines_for_regression_name_the_one_for_images():
    (problem,) = check.problems(["algo=pretrained", "dataset=glyphs"])
    assert "algo=finetune" in problem
