"""Options that cannot work together are refused in one sentence; all others combine and run."""

from dataclasses import replace
from itertools import combinations, product

import pytest
from problems import (
    EXPERIMENT,
    TRAIN,
    at_epoch,
    built,
    conv4,
    double,
    evaluated,
    image_batch,
    images,
    maml,
    shipped,
)

from maml_cli.algos.maml import MAML
from maml_cli.config.paths import conf_dir

NETWORK = conv4(filters=2)
OPTIONS = {
    "first order": {"order": 1},
    "msl": {"msl": True},
    "da": {"da": True},
    "bnrs": {"bnrs": True},
    "bnwb": {"bnwb": True},
    "lslr": {"lslr": True},
    "rate per weight": {"rate_per_weight": True},
    "rate range": {"inner_lr_max": 0.2},
    "ca": {"ca": True},
    "head adapts": {"adapts": ["head"]},
    "body and norm adapt": {"adapts": ["body", "norm"]},
    "norm and head adapt": {"adapts": ["norm", "head"]},
    "one step": {"inner_steps": 1},
    "recompute": {"recompute": True},
    "momentum": {"inner_optimizer": "momentum"},
    "adam": {"inner_optimizer": "adam"},
    "proximal": {"proximal": 0.1},
}
PAIRS = [
    (one, other)
    for one, other in combinations(OPTIONS, 2)
    if not OPTIONS[one].keys() & OPTIONS[other].keys()
]
REFUSED = {
    ("first order", "da"),  # there is no second order to anneal to
    ("bnwb", "body and norm adapt"),  # a step's own norms adapt for no later step
    ("bnwb", "norm and head adapt"),
}


def problems(**changes):
    return maml(**changes).check(EXPERIMENT)


@pytest.mark.parametrize(
    ("changes", "way_out"),
    [
        ({"da": True, "order": 1}, "set algo.order=2 or algo.da=false"),
        ({"bnwb": True, "adapts": ["norm", "head"]}, "algo.bnwb=false"),
        ({"inner_lr_max": 0.5}, "algo.inner_lr_max=null"),
        ({"inner_lr": 0.5, "inner_lr_max": 0.1, "lslr": True}, "is below algo.inner_lr=0.5"),
    ],
)
def test_a_contradiction_is_one_sentence(changes, way_out):
    (problem,) = problems(**changes)
    assert way_out in problem
    assert problem.startswith("algo.")


def test_an_outer_rate_that_would_rise_is_refused_where_it_is_annealed():
    rising = replace(EXPERIMENT, train=replace(TRAIN, outer_lr=1e-6))  # its end is 1e-5
    assert replace(rising, algo=maml()).check() == []
    (annealed,) = replace(rising, algo=maml(ca=True)).check()
    assert annealed == (
        "train.min_outer_lr=1e-05 is above train.outer_lr=1e-06: lower it, or raise train.outer_lr"
    )
    reptile = shipped("algo", "reptile")
    assert replace(rising, algo=reptile).check() == [annealed]
    assert replace(EXPERIMENT, algo=reptile).check() == []


def test_all_other_switches_combine():
    names = ("msl", "da", "bnrs", "bnwb", "lslr", "ca", "rate_per_weight")
    for values in product([False, True], repeat=len(names)):
        switches = dict(zip(names, values, strict=True))
        for adapts in (["head"], ["body"], ["body", "head"]):
            assert problems(**switches, adapts=adapts) == []


def runs(algo):
    """One iteration and a test, of more steps than trained, give finite numbers."""
    source = images(3)
    batch = image_batch(1, 3, 1, 1, source)
    learner = built(algo, NETWORK, source)
    params = double(learner.init(0))
    step = learner.meta_gradient(params, batch, at_epoch(0))
    assert step.gradient.keys() == params.theta.keys()
    assert all(gradient.isfinite().all() for gradient in step.gradient.values())
    assert any(gradient.any() for gradient in step.gradient.values())
    outputs = learner.predict(params, batch, evaluated(range(learner.steps + 2), "support"))
    assert outputs.isfinite().all()


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_every_pair_runs_or_is_refused(one, other):
    algo = maml(**OPTIONS[one] | OPTIONS[other])
    found = algo.check(EXPERIMENT)
    range_without_rates = "rate range" in (one, other) and not (
        {"lslr", "rate per weight"} & {one, other}
    )
    assert len(found) == ((one, other) in REFUSED) + range_without_rates
    if not found:
        runs(algo)


FAMILY = sorted(
    path.stem
    for path in (conf_dir() / "algo").glob("*.yaml")
    if isinstance(shipped("algo", path.stem), MAML)
)


@pytest.mark.parametrize("name", FAMILY)
def test_every_shipped_algorithm_takes_every_switch_or_says_why_not(name):
    algo = shipped("algo", name)
    ran = 0
    for option in OPTIONS.values():
        changed = replace(algo, **option)
        if found := changed.check(EXPERIMENT):
            assert all(problem.startswith("algo.") and ": " in problem for problem in found)
        else:
            runs(changed)
            ran += 1
    assert ran >= (8 if algo.implicit else 12)  # no loss or gradient passes its single steps


def test_the_family_is_found():
    assert set(FAMILY) >= {"maml", "fomaml", "mamlpp", "metasgd", "anil", "boil"}
