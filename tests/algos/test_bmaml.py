"""BMAML against values from paper and pencil."""

import math
from dataclasses import replace

import pytest
import torch
from problems import (
    EXPERIMENT,
    FakeSource,
    Line,
    at_epoch,
    built,
    composed,
    deep,
    evaluated,
    image_batch,
    images,
    points,
    shipped,
)

from maml_cli.algos.bmaml import of_particles
from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.objective import CLASSIFICATION, class_balanced
from maml_cli.inner import particles, svgd


class FromOne(Line):
    start = (1.0,)


WHOLE = {"adapts": ["body", "head"]}
TASK = points((0.0, 2.5))


def bmaml(network=None, source=None, **changes):
    fields = {"particles": 1, "inner_steps": 1, "inner_lr": 0.5, **WHOLE} | changes
    return built(shipped("algo", "bmaml", **fields), network or FromOne(), source or FakeSource())


@pytest.fixture
def no_prior(monkeypatch):
    """A density without a prior, whose noise begins with the precision 1."""
    monkeypatch.setattr(particles, "LOG_NOISE_PRECISION", 0.0)
    monkeypatch.setattr(svgd, "prior_slope", lambda *parts: [p.new_zeros(p.shape) for p in parts])


def step(made):
    found = made.meta_gradient(made.init(0), TASK, at_epoch(0))
    return found.loss.item(), found.gradient["model.head.weight"].item()


@pytest.mark.usefixtures("no_prior")
def test_the_chaser_of_one_particle():
    """The particle goes from 1 to 0.5 and its leader, at the slope 1.5 and rate 0.1, to 0.65."""
    loss, gradient = step(bmaml(outer="chaser", leader_lr=0.1))
    assert loss == pytest.approx(0.0225)
    assert gradient == pytest.approx(-0.15)


@pytest.mark.usefixtures("no_prior")
def test_the_query_loss_of_one_particle():
    """At 0.5 with the precision 1 the target is 2.5; the gradient goes through the precision too.

    `-2 * 0.5` is the weight's part. The precision's logarithm moves with the slope
    `(1 - error^2) / 2`, whose derivative is -1; 0.5 of it times `(4 - 1) / 2` is its part.
    """
    loss, gradient = step(bmaml())
    assert loss == pytest.approx((math.log(2 * math.pi) + 4) / 2)
    assert gradient == pytest.approx(-1.0 - 0.75)


def test_the_likelihood_of_particles_is_of_their_mixture():
    """Without a step of any length: weights 1 and 2 at the target 2.5, precision e^4.6."""
    made = bmaml(particles=2, inner_lr=1e-12)
    params = made.init(0)
    theta = {**params.theta, "model.head.weight": torch.tensor([[1.0], [2.0]])}
    params = MetaParameters(theta=theta, state={})
    precision = math.exp(4.6)
    densities = [
        math.sqrt(precision / (2 * math.pi)) * math.exp(-precision * (w - 2.5) ** 2 / 2)
        for w in (1.0, 2.0)
    ]
    found = made.meta_gradient(params, TASK, at_epoch(0))
    assert found.loss.item() == pytest.approx(-math.log(sum(densities) / 2), rel=1e-5)
    outputs = made.engine.predict(deep(params), TASK, evaluated((0,), "batch"))
    assert outputs.flatten().tolist() == [1.0, 2.0]
    assert found.query_loss.item() == pytest.approx((1.5 - 2.5) ** 2, rel=1e-5)


def test_heads_alone_share_one_body():
    source = images(3)
    network = shipped("backbone", "conv4", filters=2)
    model = bmaml(network, source, particles=4, adapts=["head"]).init(0).theta
    assert model["model.head.weight"].shape[0] == 4
    assert len(model["model.head.weight"].unique(dim=0)) == 4
    assert model["model.body.0.conv.weight"].shape == (2, 1, 3, 3)
    assert "model.head.log_noise_precision" not in model
    whole = bmaml(network, source, particles=4).init(0).theta
    assert whole["model.body.0.conv.weight"].shape == (4, 2, 1, 3, 3)
    assert whole["model.body.0.norm.weight"].shape == (2,)


def test_unequal_classes_have_equal_weight():
    """As for other learners: with counts 3 and 1 an example of the second class counts thrice."""
    outputs = torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 0, 1])
    log_p = CLASSIFICATION.likelihood.log_p(outputs.movedim(1, 0), labels)
    weights = torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0])
    found = of_particles(class_balanced([3, 1])).support_loss(outputs, labels)
    torch.testing.assert_close(found, -(weights * log_p).sum())
    plain = of_particles(CLASSIFICATION).support_loss(outputs, labels)
    torch.testing.assert_close(plain, -log_p.sum())


@pytest.mark.parametrize(
    ("dataset", "channels", "side"), [("omniglot", 1, 28), ("mini_imagenet", 3, 84)]
)
def test_by_default_the_support_set_of_images_becomes_likelier(dataset, channels, side):
    """At a rate some times higher the weights' precision runs away, and with it the head."""
    settings = composed("algo=bmaml", f"dataset={dataset}")
    source = images(5, channels, side)
    made = built(settings.algo, settings.backbone, source)
    task = image_batch(2, 5, 1, 1, source)
    task = task._replace(support_x=task.support_x.float(), query_x=task.support_x.float())
    samples = made.predict(made.init(0), task, evaluated((0, 5), "batch")).softmax(-1)
    right = samples.mean(2).diagonal(dim1=-2, dim2=-1)  # query i is the example of class i
    before, after = right.mean((0, 2)).tolist()
    assert before == pytest.approx(0.2, abs=0.1)
    assert after > 1.1 * before


def test_what_cannot_be_is_said():
    settings = shipped("algo", "bmaml", adapts=["body"])
    asked = replace(EXPERIMENT, eval=replace(EXPERIMENT.eval, bn_stats="running"), algo=settings)
    head, running = settings.check(asked)
    assert head.endswith("would have the same outputs: add head")
    assert running.startswith("eval.bn_stats=running: ")
