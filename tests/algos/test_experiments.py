"""Every preset composes, is what was published, and does two iterations on small random data."""

import re
from itertools import product

import pytest
import torch
from problems import FakeSource, at_epoch, built, evaluated, image_batch, images, points

from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.config.paths import conf_dir
from maml_cli.core.objective import REGRESSION

PRESETS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
COMPARING = ("protonet", "matching", "relation", "siamese", "neural_statistician")
PUBLISHED = [name for name in PRESETS if name != "quickstart"]
READING = ("snail", "mann", "memory_module", "meta_networks")
ADAPTING = [name for name in PUBLISHED if not name.startswith((*COMPARING, *READING))]
CHANNELS = {"omniglot": 1, "glyphs": 1, "mini_imagenet": 3}
CELLS = [f"omniglot_{w}way_{k}shot" for w, k in product((5, 20), (1, 5))]
CELLS += [f"mini_imagenet_5way_{k}shot" for k in (1, 5)]
OMNIGLOT, MINI_IMAGENET = CELLS[:4], CELLS[4:]
WAVES = [f"sinusoid_{k}shot" for k in (5, 10, 20)]


def each(algorithms, cells, suffixes=("",)):
    return {f"{a}_{cell}{suffix}" for a, cell, suffix in product(algorithms, cells, suffixes)}


@pytest.fixture(scope="module")
def composer():
    return Composer()


def read(name):
    return (conf_dir() / "experiment" / f"{name}.yaml").read_text()


def test_these_presets_and_no_others_are_there():
    assert set(PRESETS) == {
        "quickstart",
        *each(["maml", "fomaml", "metasgd"], CELLS),
        *each(["mamlpp"], CELLS, ["_paper", "_official_code"]),
        *each(["reptile"], CELLS, ["", "_transductive"]),
        *each(["maml"], ["omniglot_5way_1shot", "omniglot_5way_5shot"], ["_no_conv"]),
        *each(["maml", "metasgd"], WAVES),
        *each(["maml", "pretrained"], ["sinusoid_5shot_trained_on_10shot"]),
        "reptile_sinusoid_10shot",
        "protonet_omniglot_60way_1shot",
        *each(["protonet"], MINI_IMAGENET),
        *each(["matching", "relation"], CELLS),
        *each(["matching"], MINI_IMAGENET, ["_fce"]),
        "relation_omniglot_5way_1shot_inductive",
        *each(["siamese", "neural_statistician"], ["omniglot_5way_1shot"]),
        *each(["snail"], CELLS),
        *each(["memory_module"], OMNIGLOT),
        *each(["mann"], ["omniglot_5way_1shot", "omniglot_5way_5shot"]),
        *each(["meta_networks"], ["omniglot_5way_1shot", "omniglot_20way_1shot"]),
        *each(["meta_lstm"], MINI_IMAGENET, ["_paper", "_official_code"]),
    }
    assert (
        len(PRESETS)
        == 1 + 18 + 12 + 12 + 2 + 6 + 2 + 1 + 1 + 2 + 12 + 2 + 1 + 2 + 6 + 4 + 2 + 2 + 4
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_is_what_its_name_says(name, composer):
    first, command = read(name).splitlines()[1:3]
    assert re.fullmatch(r"# .+\(.+ 20\d\d, (table|figure)s? .+\)\.", first)
    assert command == f"# maml-train experiment={name}"
    run = build(composer.compose([f"experiment={name}"]), command="")
    assert name.startswith(f"{run.algo.name}_{run.dataset.name}_")
    assert f"_{run.run.shots}shot" in name
    told = {f"_{run.run.ways_in(split)}way_" for split in ("train", "test")}
    assert any(ways in name for ways in told) or run.run.ways == 1


# By the papers and their official code. Rates on losses that sum over the classes are times the
# ways: 0.4 x 5, 0.1 x 20, 0.01 x 5. Clipping at 10 is on a gradient 5 x 15 / shots times ours.
# Columns: network; shots and queries in training, then in the test; inner rate; inner steps in
# training and in the test; tasks per batch; iterations; clipping.
VALUES = {
    "maml_omniglot_5way_1shot": ("conv4_maml_omniglot", 1, 1, 1, 1, 2.0, 1, 3, 32, 60_000, None),
    "maml_omniglot_5way_5shot": ("conv4_maml_omniglot", 5, 5, 5, 5, 2.0, 1, 3, 32, 60_000, None),
    "maml_omniglot_20way_1shot": ("conv4_maml_omniglot", 1, 1, 1, 1, 2.0, 5, 5, 16, 60_000, None),
    "maml_omniglot_20way_5shot": ("conv4_maml_omniglot", 5, 5, 5, 5, 2.0, 5, 5, 16, 60_000, None),
    "maml_omniglot_5way_1shot_no_conv": ("no_conv", 1, 1, 1, 1, 2.0, 1, 3, 32, 60_000, None),
    "maml_omniglot_5way_5shot_no_conv": ("no_conv", 5, 5, 5, 5, 2.0, 1, 3, 32, 60_000, None),
    "maml_mini_imagenet_5way_1shot": (
        *("conv4_maml_mini_imagenet", 1, 15, 1, 1, 0.05, 5, 10, 4, 60_000, 10 / 75),
    ),
    "maml_mini_imagenet_5way_5shot": (
        *("conv4_maml_mini_imagenet", 5, 15, 5, 5, 0.05, 5, 10, 2, 60_000, 10 / 15),
    ),
    "maml_sinusoid_5shot": ("mlp", 5, 5, 5, 5, 0.01, 1, 10, 25, 70_000, None),
    "maml_sinusoid_10shot": ("mlp", 10, 10, 10, 10, 0.01, 1, 10, 25, 70_000, None),
    "maml_sinusoid_20shot": ("mlp", 20, 20, 20, 20, 0.01, 1, 10, 25, 70_000, None),
    "maml_sinusoid_5shot_trained_on_10shot": ("mlp", 10, 10, 5, 5, 0.01, 1, 10, 25, 70_000, None),
    "reptile_omniglot_5way_1shot": (
        *("conv4_reptile_omniglot", 10, 1, 1, 1, 1e-3, 5, 50, 5, 100_000, None),
    ),
    "reptile_omniglot_5way_5shot": (
        *("conv4_reptile_omniglot", 10, 1, 5, 1, 1e-3, 5, 50, 5, 100_000, None),
    ),
    "reptile_omniglot_20way_1shot": (
        *("conv4_reptile_omniglot", 10, 1, 1, 1, 5e-4, 10, 50, 5, 200_000, None),
    ),
    "reptile_omniglot_20way_5shot": (
        *("conv4_reptile_omniglot", 10, 1, 5, 1, 5e-4, 10, 50, 5, 200_000, None),
    ),
    "reptile_mini_imagenet_5way_1shot": (
        *("conv4_reptile_mini_imagenet", 15, 1, 1, 1, 1e-3, 8, 50, 5, 100_000, None),
    ),
    "reptile_mini_imagenet_5way_5shot": (
        *("conv4_reptile_mini_imagenet", 15, 1, 5, 1, 1e-3, 8, 50, 5, 100_000, None),
    ),
    "mamlpp_omniglot_20way_1shot_official_code": (
        *("conv4", 1, 1, 1, 1, 0.1, 5, 5, 8, 50_000, None),
    ),
    "mamlpp_mini_imagenet_5way_5shot_official_code": (
        *("conv4_48", 5, 15, 5, 15, 0.1, 5, 5, 2, 50_000, 10.0),
    ),
    "mamlpp_omniglot_20way_1shot_paper": ("conv4", 1, 1, 1, 1, 0.1, 5, 5, 16, 75_000, None),
    "metasgd_mini_imagenet_5way_1shot": (
        *("conv4_maml_mini_imagenet", 1, 15, 1, 15, 0.005, 1, 1, 4, 60_000, None),
    ),
}
# First-order MAML is MAML with another order; MAML++ differs between ways and shots in these alone.
SAME = {f"fomaml_{cell}": f"maml_{cell}" for cell in CELLS}
SAME |= {f"reptile_{cell}_transductive": f"reptile_{cell}" for cell in CELLS}
VALUES |= {name: VALUES[other] for name, other in SAME.items()}


@pytest.mark.parametrize("name", VALUES)
def test_the_values_are_those_published(name, composer):
    run = build(composer.compose([f"experiment={name}"]), command="")
    steps = run.algo.inner_steps if run.eval.inner_steps is None else run.eval.inner_steps
    found = (
        run.backbone.name,
        run.run.shots_in("train"),
        run.run.queries_in("train"),
        run.run.shots_in("test"),
        run.run.queries_in("test"),
        run.algo.inner_lr,
        run.algo.inner_steps,
        steps,
        run.train.tasks_per_batch,
        run.train.epochs * run.train.iterations_per_epoch,
    )
    *expected, clip = VALUES[name]
    assert found == tuple(expected)
    assert run.train.grad_clip == (clip and pytest.approx(clip, rel=1e-3))


@pytest.mark.parametrize("name", ADAPTING)
def test_what_an_algorithm_s_presets_share(name, composer):
    run = build(composer.compose([f"experiment={name}"]), command="")
    algo, data = run.algo.name, run.dataset.name
    if algo == "reptile" and data != "sinusoid":
        assert run.algo.inner_optimizer == "adam"
        assert run.algo.carry_moments
        assert (run.train.outer_lr, run.train.min_outer_lr) == (1.0, 0.0)
        assert run.eval.test_episodes == 10_000
        transductive = name.endswith("_transductive")
        assert run.eval.bn_stats == ("batch" if transductive else "support_and_query")
        batches = {"omniglot_5way": (10, 5), "omniglot_20way": (20, 10)}
        batches |= {"5way_1shot": (10, 5), "5way_5shot": (10, 15)}
        sizes = next(v for k, v in batches.items() if f"_{k}" in name)
        assert (run.algo.inner_batch, run.algo.eval_inner_batch) == sizes
    elif algo != "reptile":
        assert run.train.outer_lr == 1e-3
        assert run.eval.test_episodes == 600
    if algo == "mamlpp":
        paper = name.endswith("_paper")
        annealed = paper or data == "omniglot"
        assert run.train.min_outer_lr == (1e-5 if annealed else 1e-3)
        assert (run.algo.da, run.eval.ensemble) == ((True, 3) if paper else (False, 5))
        assert run.eval.bn_stats == ("running" if paper else "batch")
        assert run.backbone.filters == (64 if data == "omniglot" else 48)
    else:
        assert run.eval.ensemble == 1
    if data == "omniglot":
        mixed = {"mamlpp": ("episode", False, False), "reptile": ("classes", False, False)}
        drawn = mixed.get(algo, ("episode", True, True))
        assert (run.dataset.rotations, run.dataset.rotate_test, run.dataset.invert) == drawn
    if data == "mini_imagenet":
        assert (run.dataset.std == (1.0, 1.0, 1.0)) == (algo != "mamlpp")


# Columns: network; ways, shots and queries in training, then in the test; rate, and how often it
# halves; episodes; test episodes; batch norm at the test, and whether training has one batch.
EPISODIC = {
    "protonet_omniglot_60way_1shot": (
        *("conv4_protonet", 60, 1, 5, 20, 1, 15, 1e-3, 2000, 20_000, 1000, "running", True),
    ),
    "protonet_mini_imagenet_5way_1shot": (
        *("conv4_protonet", 30, 1, 15, 5, 1, 15, 1e-3, 2000, 20_000, 600, "running", True),
    ),
    "protonet_mini_imagenet_5way_5shot": (
        *("conv4_protonet", 20, 5, 15, 5, 5, 15, 1e-3, 2000, 20_000, 600, "running", True),
    ),
    "matching_mini_imagenet_5way_1shot_fce": (
        *("conv4_matching", 5, 1, 15, 5, 1, 15, 1e-4, None, 75_000, 600, "running", False),
    ),
    "relation_omniglot_20way_1shot": (
        *("conv4_relation", 20, 1, 10, 20, 1, 1, 1e-3, 100_000, 1_000_000, 1000, "batch", False),
    ),
    "relation_mini_imagenet_5way_5shot": (
        *("conv4_relation", 5, 5, 10, 5, 5, 15, 1e-3, 100_000, 500_000, 600, "batch", False),
    ),
    "siamese_omniglot_5way_1shot": (
        *("conv4_protonet", 64, 1, 1, 5, 1, 15, 1e-3, 2000, 20_000, 1000, "running", True),
    ),
}


@pytest.mark.parametrize("name", EPISODIC)
def test_the_episodes_of_learners_that_compare(name, composer):
    run = build(composer.compose([f"experiment={name}"]), command="")
    episodes = [
        size
        for split in ("train", "test")
        for size in (run.run.ways_in(split), run.run.shots_in(split), run.run.queries_in(split))
    ]
    found = (
        run.backbone.name,
        *episodes,
        run.train.outer_lr,
        run.train.halve_every,
        run.train.epochs * run.train.iterations_per_epoch * run.train.tasks_per_batch,
        run.eval.test_episodes,
        run.eval.bn_stats,
        run.algo.joint_norm,
    )
    assert found == EPISODIC[name]
    assert (run.train.tasks_per_batch, run.eval.ensemble) == (1, 1)


# Columns: network; shots and queries in training, then in the test; tasks per batch; rate; clipping
SEQUENCES = {
    "snail_omniglot_20way_5shot": ("conv4", 5, 1, 5, 1, 32, 1e-4, None),
    "snail_mini_imagenet_5way_1shot": ("resnet12", 5, 1, 1, 15, 32, 1e-4, None),
    "mann_omniglot_5way_1shot": ("pixels", 9, 1, 1, 1, 16, 1e-3, None),
    "memory_module_omniglot_20way_1shot": ("plain_conv", 5, 1, 1, 1, 16, 1e-4, 5.0),
    "meta_networks_omniglot_5way_1shot": (
        *("plain_conv_meta_networks", 1, 10, 1, 1, 1, 1e-3, 10 / 50),
    ),
    "meta_networks_omniglot_20way_1shot": (
        *("plain_conv_meta_networks", 1, 10, 1, 1, 1, 1e-3, 10 / 200),
    ),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_episodes_of_learners_that_read(name, composer):
    run = build(composer.compose([f"experiment={name}"]), command="")
    found = (
        run.backbone.name,
        *(run.run.shots_in("train"), run.run.queries_in("train")),
        *(run.run.shots_in("test"), run.run.queries_in("test")),
        run.train.tasks_per_batch,
        run.train.outer_lr,
        run.train.grad_clip_norm,
    )
    assert found == SEQUENCES[name]
    assert run.train.grad_clip is None


def test_what_is_unconfirmed_is_marked():
    assert all("[unconfirmed]" in read(n) for n in PRESETS if n.startswith("metasgd_"))
    papers = [n for n in PRESETS if n.startswith("mamlpp_") and n.endswith("_paper")]
    assert papers
    assert all("[unconfirmed]" in read(n) for n in papers)
    numbers = [n for n in PRESETS if "[unconfirmed]" in read(n).splitlines()[1]]
    assert set(numbers) == each(
        ["metasgd"], ["omniglot_20way_1shot", "omniglot_20way_5shot", *WAVES]
    )


@pytest.mark.parametrize("name", PRESETS)
def test_two_iterations(name, composer):
    overrides = [f"experiment={name}"]
    if "sinusoid" not in name:
        small = {
            "no_conv": "backbone.hidden=[4,4]",
            "mann": "algo.units=4",
            "snail_mini": "backbone.widths=[2,2,2,2]",
        }
        found = [line for part, line in small.items() if part in name]
        overrides += [*(found or ["backbone.filters=2"]), "ways=3"]
    run = build(composer.compose(overrides), command="")
    if run.dataset.name in CHANNELS:
        side = 46 if run.algo.name == "relation" else 16  # so that its maps can be halved again
        source = images(3, CHANNELS[run.dataset.name], side=side)
        batch = image_batch(2, 3, run.run.shots, run.run.queries, source)
        batch = batch._replace(support_x=batch.support_x.float(), query_x=batch.query_x.float())
    else:
        source, batch = FakeSource((1,), 1, REGRESSION), points((1.0, 2.0), (0.5, 0.0))
    learner = built(run.algo, run.backbone, source, bn_stats=run.train.bn_stats)
    params = learner.init(0)
    before = {n: t.clone() for n, t in params.theta.items()}
    optimizer = learner.algorithm.optimizer(list(params.theta.values()))
    for epoch in (0, run.train.epochs - 1):
        step = learner.meta_gradient(params, batch, at_epoch(epoch))
        assert step.loss.isfinite()
        for weight, gradient in zip(params.theta.values(), step.gradient.values(), strict=True):
            weight.grad = gradient
        optimizer.param_groups[0]["lr"] = run.train.outer_lr
        optimizer.step()
    assert any(not torch.equal(before[n], t) for n, t in params.theta.items())
    steps = min(learner.steps, 2)
    outputs = learner.predict(params, batch, evaluated(range(steps + 1), run.eval.bn_stats))
    assert outputs.shape[:2] == (2, steps + 1)
    assert outputs.isfinite().all()
