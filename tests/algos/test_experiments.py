"""Every preset composes, is valid, and does two iterations on small random data."""

import re

import pytest
import torch
from problems import FakeSource, at_epoch, image_batch, images, points

from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.core.objective import REGRESSION
from maml_cli.core.types import Episode
from maml_cli.inner.engines import choose_engine
from maml_cli.paths import conf_dir

PRESETS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
PUBLISHED = [name for name in PRESETS if name != "quickstart"]
CHANNELS = {"omniglot": 1, "glyphs": 1, "mini_imagenet": 3}


@pytest.fixture(scope="module")
def composer():
    return Composer()


def test_the_published_settings_are_there():
    for algo in ("maml", "metasgd"):
        expected = {f"{algo}_omniglot_{w}way_{k}shot" for w in (5, 20) for k in (1, 5)}
        expected |= {f"{algo}_mini_imagenet_5way_{k}shot" for k in (1, 5)}
        expected |= {f"{algo}_sinusoid_{k}shot" for k in (5, 10, 20)}
        assert expected <= set(PRESETS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_is_what_its_name_says(name, composer):
    first, command = (conf_dir() / "experiment" / f"{name}.yaml").read_text().splitlines()[1:3]
    assert re.fullmatch(r"# .+\(.+ 20\d\d, (table|figures) .+\)\.", first)
    assert command == f"# maml-train experiment={name}"
    run = build(composer.compose([f"experiment={name}"]), command="")
    assert name.startswith(f"{run.algo.name}_{run.dataset.name}_")
    assert f"_{run.run.shots}shot" in name
    assert f"_{run.run.ways}way_" in name or run.run.ways == 1


@pytest.mark.parametrize("name", PRESETS)
def test_two_iterations(name, composer):
    overrides = [f"experiment={name}"]
    if "sinusoid" not in name:
        small = "backbone.hidden=[4,4]" if "no_conv" in name else "backbone.filters=2"
        overrides += [small, "ways=3"]
    run = build(composer.compose(overrides), command="")
    if run.dataset.name in CHANNELS:
        source = images(3, CHANNELS[run.dataset.name], side=16)
        batch = image_batch(2, 3, run.run.shots, run.run.queries, source)
        batch = batch._replace(support_x=batch.support_x.float(), query_x=batch.query_x.float())
    else:
        source, batch = FakeSource((1,), 1, REGRESSION), points((1.0, 2.0), (0.5, 0.0))
    engine = choose_engine("loop", torch.device("cpu"), convolutional=True)
    learner = run.algo.build(run.backbone, source, run.train, engine)
    params = learner.init(0)
    before = {n: t.clone() for n, t in params.theta.items()}
    optimizer = learner.optimizer(list(params.theta.values()))
    for epoch in (0, run.train.epochs - 1):
        step = learner.meta_gradient(params, Episode(*batch), at_epoch(epoch))
        assert step.loss.isfinite()
        for weight, gradient in zip(params.theta.values(), step.gradient.values(), strict=True):
            weight.grad = gradient
        optimizer.param_groups[0]["lr"] = run.train.outer_lr
        optimizer.step()
    assert any(not torch.equal(before[n], t) for n, t in params.theta.items())
    steps = run.eval.inner_steps or learner.steps
    outputs = learner.predict(params, batch, steps, run.eval.bn_stats)
    assert outputs.shape[:2] == (2, steps + 1)
    assert outputs.isfinite().all()
