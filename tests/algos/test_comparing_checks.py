"""What learners that compare cannot do is refused with the arithmetic; single parts of settings."""

import pytest
from problems import TRAIN, composed, images, shipped

from maml_cli.config import check
from maml_cli.core.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["algo=protonet", "dataset=omniglot", "train_ways=2000"],
            'train_ways=2000 needs 2000 classes, but split "train" of omniglot has 1150',
        ),
        (["algo=matching", "dataset=sinusoid"], "algo=matching tells classes apart, but ways=1"),
        (["algo=siamese", "ways=1"], "ways=1: with one class there is nothing to tell apart"),
        (["algo=protonet", "train_ways=1"], "train_ways=1: with one class there is nothing"),
        (["algo=relation", "eval.inner_steps=5"], "set eval.inner_steps=null"),
        (["algo=neural_statistician", "train.bn_stats=support"], "set train.bn_stats=batch"),
        (["algo=protonet", "algo.adapts=[head]"], "algo.adapts"),
        (["algo=mamlpp", "train.halve_every=100"], "set train.halve_every=null"),
        (["algo=reptile", "train.halve_every=100"], "set train.halve_every=null"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(arguments, sentence):
    (problem,) = check.problems(arguments)
    assert sentence in problem


def test_a_relation_needs_maps_that_can_be_halved_twice():
    network = shipped("backbone", "conv4", filters=2).build((1, 28, 28))
    with pytest.raises(UsageError, match="1x1 -> 0x0"):
        shipped("algo", "relation").build(network, images(5), TRAIN).init(0)


def test_a_relation_needs_maps():
    network = shipped("backbone", "conv4", filters=2, features="mean").build((1, 28, 28))
    with pytest.raises(UsageError, match="choose backbone=conv4_relation"):
        shipped("algo", "relation").build(network, images(5), TRAIN).init(0)


@pytest.mark.parametrize("algo", ["relation", "matching"])
@pytest.mark.parametrize(("words", "shots"), [([], 3), (["train_shots=5"], 5)])
def test_a_sum_stands_for_the_shots_of_training(algo, words, shots):
    assert composed(f"algo={algo}", "shots=3", *words).algo.shots == shots
