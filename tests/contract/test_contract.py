"""Every engine computes every algorithm as the loop does, at any moment of training."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from problems import TRAIN, shipped

from maml_cli.core.algorithm import LOG
from maml_cli.engines.vmap import Vmap
from maml_cli.testing import ENGINES, check_algorithm, check_engine, check_network, regression
from maml_cli.testing.contract import on_meta
from maml_cli.testing.problems import classification
from maml_cli.testing.traps import Plain

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

FEW_STEPS = {"inner_steps": 2}
ALGORITHMS = {
    "maml": ("maml", FEW_STEPS),
    "fomaml": ("fomaml", FEW_STEPS),
    "mamlpp": ("mamlpp", {**FEW_STEPS, "da_epochs": 30, "msl_epochs": 40}),
    "mamlpp, recomputed": ("mamlpp", {**FEW_STEPS, "da": False, "msl": False, "recompute": True}),
    "metasgd": ("metasgd", {}),
    "anil": ("anil", FEW_STEPS),
    "anil, momentum": ("anil", {**FEW_STEPS, "inner_optimizer": "momentum"}),
    "boil": ("boil", FEW_STEPS),
    "adam": ("maml", {**FEW_STEPS, "inner_optimizer": "adam"}),
    "proximal": ("maml", {**FEW_STEPS, "proximal": 0.5}),
    "reptile": ("reptile", {"inner_steps": 3, "inner_batch": 2, "eval_inner_batch": 2}),
    "reptile, sgd": (
        "reptile",
        {
            "inner_steps": 3,
            "inner_batch": 2,
            "eval_inner_batch": 2,
            "inner_optimizer": "sgd",
            "carry_moments": False,
        },
    ),
    "mtnet, curvature": ("mtnet", {"inner_steps": 1, "curvature": True}),
    "cavia": ("cavia", {"inner_steps": 1, "contexts": 3}),
    "imaml": ("imaml", {"inner_steps": 2, "cg_steps": 1}),
    "finetune": ("finetune", FEW_STEPS),
    "nearest_neighbour": ("nearest_neighbour", {}),
    "snail": (
        "snail",
        {"embedding": 4, "filters": 4, "max_shots": 2, "mixed_shots": True},
    ),
    "in_context": ("in_context", {"width": 8, "layers": 2, "heads": 2}),
    "memory_module": ("memory_module", {"rep_dim": 6}),
    "memory_module, shared": (
        "memory_module",
        {"rep_dim": 6, "lesson": "stream", "shared_memory": True},
    ),
    "mann": ("mann", {"units": 5, "slots": 7, "width": 3, "heads": 2, "lesson": "stream"}),
    "bmaml": ("bmaml", {"particles": 2, **FEW_STEPS}),
    "platipus": ("platipus", {"inner_steps": 1, "samples": 2, "adapts": ["head"]}),
}
WHOLE = {"particles": 3, "inner_steps": 1, "inner_lr": 1e-3, "adapts": ["body", "head"]}
REGRESSION = {
    **{"pretrained": {}, "oracle": {}, "scratch": {}, "maml": FEW_STEPS, "metasgd": {}},
    "tnet": FEW_STEPS,
    "mtnet": FEW_STEPS,
    "mtnet, a bit per weight": {**FEW_STEPS, "mask": "weight", "recompute": True},
    "cavia": {"contexts": 3},
    "metacurvature": FEW_STEPS,
    "alfa": FEW_STEPS,
    "imaml": {"inner_steps": 3, "cg_steps": 2},
    "in_context": {"width": 8, "layers": 2, "heads": 2, "mixed_shots": True},
    "bmaml": {**WHOLE, "outer": "chaser", "leader_lr": 1e-3},
    "platipus": {"inner_steps": 1, "samples": 2},
    "llama": {"inner_steps": 1, "laplace_weight": 0.1},
}


BY_RUNNING = {
    "mamlpp": {**FEW_STEPS, "da_epochs": 30, "msl_epochs": 40},
    "mamlpp, shared": {**FEW_STEPS, "da": False, "msl": False, "bnrs": False, "recompute": True},
    "anil": FEW_STEPS,
}


def build(name, changes, network, source, train=TRAIN):
    return shipped("algo", name, **changes).build(network, source, train)


@pytest.mark.parametrize("case", ALGORITHMS)
def test_every_algorithm_on_every_engine(case):
    name, changes = ALGORITHMS[case]
    check_algorithm(partial(build, name, changes))


@pytest.mark.parametrize(("order", "engines"), [(1, ("threads", "vmap")), (2, tuple(ENGINES))])
def test_meta_networks_on_every_engine(order, engines):
    form = {"filters": 2, "blocks": [[1], [1]], "hidden": [3]}
    network = shipped("backbone", "plain_conv_meta_networks", **form).build((1, 8, 8))
    problem = replace(classification(side=8), network=network)
    check_algorithm(
        partial(build, "meta_networks", {"order": order}),
        problem,
        engines={name: ENGINES[name] for name in engines},
        bn_stats=["batch"],
    )


@pytest.mark.parametrize("name", ["finetune", "nearest_neighbour"])
def test_running_statistics_of_pretrained_networks_on_every_engine(name):
    check_algorithm(partial(build, *ALGORITHMS[name]), bn_stats=("running",))


@pytest.mark.parametrize("bn_stats", ["support", "running"])
@pytest.mark.parametrize("case", BY_RUNNING)
def test_other_statistics_in_training(case, bn_stats):
    train = replace(TRAIN, bn_stats=bn_stats)
    name, _, _ = case.partition(",")
    # the lean blocks and torch's own: other engines compute by one or the other, elsewhere or later
    both = {engine: ENGINES[engine] for engine in ("lean loop", "vmap")}
    check_algorithm(
        partial(build, name, BY_RUNNING[case], train=train), engines=both, bn_stats=(bn_stats,)
    )


@pytest.mark.parametrize("case", REGRESSION)
def test_every_algorithm_for_curves_on_every_engine(case):
    name, _, _ = case.partition(",")
    check_algorithm(partial(build, name, REGRESSION[case]), regression(), bn_stats=("batch",))


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_passes_the_traps(name):
    check_engine(ENGINES[name], regression())


def test_an_output_that_nobody_declared_is_named():
    class Undeclared(Plain):
        def loss(self, params, episode, phase, ops):
            loss, outputs = super().loss(params, episode, phase, ops)
            return loss, {LOG: outputs[LOG], "surprise": {"sum": episode.support_x.sum()}}

    for name, make in ENGINES.items():
        with pytest.raises(TypeError, match="section 'surprise'"):
            check_algorithm(Undeclared, regression(), engines={name: make})


def test_a_frozen_recording_fails_the_traps():
    """An engine that records once, whatever changes, is caught."""

    class Frozen(Vmap):
        def step(self, params, episodes, phase):
            self._first = getattr(self, "_first", phase)
            return super().step(params, episodes, self._first)

    with pytest.raises(AssertionError, match="Progressing differs from the loop at epoch 50"):
        check_engine(Frozen, regression())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv4", (1, 28, 28)),
        ("conv4_48", (3, 84, 84)),
        ("conv4_maml_omniglot", (1, 28, 28)),
        ("conv4_relation", (1, 28, 28)),
        ("conv4_reptile_mini_imagenet", (3, 84, 84)),
        ("resnet12", (3, 32, 32)),
        ("no_conv", (1, 28, 28)),
        ("pixels", (1, 28, 28)),
        ("plain_conv", (1, 28, 28)),
        ("plain_conv_meta_networks", (3, 84, 84)),
        ("mlp", (1,)),
    ],
)
def test_every_network_declares_its_norms(name, shape):
    check_network(shipped("backbone", name).build(shape), shape)


def test_a_norm_that_nobody_declared_is_caught():
    class Mixing(type(classification().network)):
        def features(self, params, x, norm):
            return super().features(params, x - x.mean(0), norm)

    form = shipped("backbone", "conv4", filters=2)
    with pytest.raises(AssertionError, match="`norms` does not declare"):
        check_network(Mixing(form, (1, 16, 16)), (1, 16, 16))


@pytest.mark.parametrize("engine", [ENGINES["lean loop"], Vmap])
@pytest.mark.parametrize("case", ALGORITHMS)
def test_every_algorithm_on_the_meta_device(case, engine):
    name, changes = ALGORITHMS[case]
    problem = classification()
    step = on_meta(build(name, changes, problem.network, problem.source), problem, engine)
    assert step.loss.device == torch.device("meta")


@pytest.mark.parametrize("case", REGRESSION)
def test_every_algorithm_for_curves_on_the_meta_device(case):
    problem, (name, _, _) = regression(), case.partition(",")
    algorithm = build(name, REGRESSION[case], problem.network, problem.source)
    assert on_meta(algorithm, problem, Vmap).loss.device == torch.device("meta")
