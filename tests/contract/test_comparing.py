"""Learners that compare, on every engine and by every batch norm, and what they are blind to."""

from dataclasses import replace

import pytest
import torch
from problems import TRAIN, evaluated, shipped

from maml_cli.comparison.context import FullContext
from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.types import Episode
from maml_cli.engines.per_task import loop
from maml_cli.engines.vmap import Vmap
from maml_cli.testing import check_algorithm
from maml_cli.testing.contract import on_meta
from maml_cli.testing.problems import classification

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

KINDS = ("batch", "support", "support_and_query", "running")
CASES = {
    "protonet": {},
    "matching": {"fce": True, "joint_norm": False, "scale": 5.0},
    "relation": {"filters": 4},
    "siamese": {"units": 8},
    "neural_statistician": {"context": 3, "latent": 2, "units": 4, "filters": 2},
}


class Started(FullContext):
    """Its weights do not start at zero, as if it were trained."""

    def init(self, feature_shape):
        generator = torch.Generator().manual_seed(2)
        zeros = super().init(feature_shape)
        return {n: torch.randn(t.shape, generator=generator) / 4 for n, t in zeros.items()}


def problem(algo):
    found = classification(side=28 if algo == "relation" else 16)
    if algo != "relation":
        return found
    network = shipped("backbone", "conv4_relation", filters=4).build((1, 28, 28))
    return replace(found, network=network)


def build(algo, network, source):
    learner = shipped("algo", algo, **CASES[algo]).build(network, source, TRAIN)
    comparison = learner.comparer.comparison
    if not isinstance(getattr(comparison, "context", None), FullContext):
        return learner
    comparison = replace(comparison, context=Started(steps=2))
    return replace(learner, comparer=replace(learner.comparer, comparison=comparison))


@pytest.mark.parametrize("algo", CASES)
def test_every_engine_computes_it_as_the_loop_does(algo):
    check_algorithm(
        lambda network, source: build(algo, network, source), problem(algo), bn_stats=KINDS
    )


@pytest.mark.parametrize("engine", [loop, Vmap])
@pytest.mark.parametrize("algo", CASES)
def test_it_computes_on_the_meta_device(algo, engine):
    posed = problem(algo)
    step = on_meta(build(algo, posed.network, posed.source), posed, engine)
    assert step.loss.device == torch.device("meta")


def first_task(posed):
    return Episode(*(field[:1] for field in posed.episodes))


def answers(algo, episode, kind, posed):
    engine = loop(build(algo, posed.network, posed.source))
    params = engine.algorithm.init(0)
    double = MetaParameters(
        theta={s: {n: t.double() for n, t in ts.items()} for s, ts in params.theta.items()},
        state={s: {n: t.double() for n, t in ts.items()} for s, ts in params.state.items()},
    )
    return engine.predict(double, episode, evaluated((0,), kind))[0, 0, 0]


@pytest.mark.parametrize("kind", ["support", "support_and_query", "running"])
@pytest.mark.parametrize("algo", CASES)
def test_a_query_is_judged_by_itself(algo, kind):
    posed = problem(algo)
    episode = first_task(posed)
    alone = episode._replace(query_x=episode.query_x[:, 2:3], query_y=episode.query_y[:, 2:3])
    together = answers(algo, episode, kind, posed)
    torch.testing.assert_close(answers(algo, alone, kind, posed), together[2:3])


@pytest.mark.parametrize("algo", sorted(CASES.keys() - {"matching"}))
def test_scores_turn_with_the_classes_and_know_no_order_of_shots(algo):
    posed = problem(algo)
    episode = first_task(posed)
    expected = answers(algo, episode, "batch", posed)
    order = torch.tensor([5, 0, 3, 1, 4, 2])  # of 3 classes of 2 examples
    new_label = torch.tensor([2, 0, 1])
    turned = episode._replace(
        support_x=episode.support_x[:, order], support_y=new_label[episode.support_y[:, order]]
    )
    found = answers(algo, turned, "batch", posed)
    torch.testing.assert_close(found[:, new_label], expected)
