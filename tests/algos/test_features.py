"""The features of a query are what the answers are made of, for every kind of learner."""

import pytest
import torch
import torch.nn.functional as F
from problems import TRAIN, shipped

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.norms import BatchStats, GivenStats
from maml_cli.core.types import Evaluation
from maml_cli.engines.per_task import loop
from maml_cli.testing.problems import classification

PROBLEM = classification()
NETWORK, EPISODES = PROBLEM.network, PROBLEM.episodes
LEARNERS = {
    "maml": {},
    "mamlpp": {},
    "anil": {},
    "cavia": {"contexts": 3},
    "reptile": {"inner_batch": 2, "eval_inner_batch": 2},
    "finetune": {},
    "bmaml": {"particles": 2},
    "platipus": {"samples": 2},
    "protonet": {},
    "nearest_neighbour": {},
    "memory_module": {"rep_dim": 6},
}
ADAPTING = ("maml", "mamlpp", "cavia", "reptile", "platipus")


def built(name, changes):
    algorithm = shipped("algo", name, **changes).build(NETWORK, PROBLEM.source, TRAIN)
    fresh = algorithm.init(0)
    double = {s: {n: t.double() for n, t in ts.items()} for s, ts in fresh.theta.items()}
    state = {s: {n: t.double() for n, t in ts.items()} for s, ts in fresh.state.items()}
    return algorithm, MetaParameters(theta=double, state=state)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_says_them_before_and_after(name):
    algorithm, params = built(name, LEARNERS[name])
    found = loop(algorithm).features(params, EPISODES, Evaluation((0, 2), "batch"))
    assert found.shape[:3] == (3, 2, EPISODES.query_x.shape[1])
    assert algorithm.has_features
    changed = not torch.equal(found[:, 0], found[:, 1])
    assert changed == (name in ADAPTING)


def test_those_of_maml_are_the_features_of_the_adapted_weights():
    """By a step of descent written out, and batch statistics of the queries."""
    adapts = ["body", "norm", "head"]
    algorithm, params = built("maml", {"inner_lr": 0.4, "adapts": adapts})
    found = loop(algorithm).features(params, EPISODES, Evaluation((1,), "batch"))
    for task in range(3):
        support_x, support_y, query_x, *_ = (field[task] for field in EPISODES)
        theta = {n: t.clone().requires_grad_() for n, t in params.theta["model"].items()}
        loss = F.cross_entropy(NETWORK.outputs(theta, support_x, BatchStats()), support_y)
        gradients = torch.autograd.grad(loss, list(theta.values()))
        phi = {n: t - 0.4 * g for (n, t), g in zip(theta.items(), gradients, strict=True)}
        expected = NETWORK.features(phi, query_x, BatchStats())
        torch.testing.assert_close(found[task, 0], expected.detach())


def test_those_of_prototypical_networks_give_their_scores():
    """`-|f(q) - mean f(s)|^2`, by the running statistics."""
    algorithm, params = built("protonet", {})
    evaluation = Evaluation((0,), "running")
    features = loop(algorithm).features(params, EPISODES, evaluation)[:, 0].flatten(2)
    scores = loop(algorithm).predict(params, EPISODES, evaluation)[:, 0, 0]
    norm = GivenStats(params.state["running"])
    for task in range(3):
        support = NETWORK.features(params.theta["model"], EPISODES.support_x[task], norm)
        prototypes = support.flatten(1).view(3, 2, -1).mean(1)
        expected = -torch.cdist(features[task], prototypes).square()
        torch.testing.assert_close(scores[task], expected)
