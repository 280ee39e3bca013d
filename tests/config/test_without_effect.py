"""A setting that was typed and has no effect is told at the start of a run, with its cause."""

from collections.abc import Callable

import pytest

from maml_cli.config.build import build
from maml_cli.config.compose import Composer

NOT_ANNEALED = "does not anneal the outer rate"

WITHOUT = {
    "algo=maml algo.msl_epochs=5": "algo.msl_epochs=5 has no effect: algo.msl=false",
    "algo=maml algo.cg_steps=3": "algo.cg_steps=3 has no effect: algo.implicit=false",
    "algo=maml train.min_outer_lr=1e-6": (
        f"train.min_outer_lr=1e-6 has no effect: algo=maml, as it is set, {NOT_ANNEALED}"
    ),
    "algo=protonet train.min_outer_lr=1e-6": (
        f"train.min_outer_lr=1e-6 has no effect: algo=protonet, as it is set, {NOT_ANNEALED}"
    ),
    "algo=bmaml algo.outer=query algo.leader_steps=2": (
        "algo.leader_steps=2 has no effect: algo.outer=query"
    ),
    "algo=matching algo.fce_steps=4": "algo.fce_steps=4 has no effect: algo.fce=false",
    "algo=maml dataset=sinusoid dataset.relative_noise=true": (
        "dataset.relative_noise=true has no effect: dataset.noise=0.0"
    ),
}

WITH = (
    "algo=maml algo.msl=true algo.msl_epochs=5",
    "algo=mamlpp algo.da_epochs=5 train.min_outer_lr=1e-6",
    "algo=reptile train.min_outer_lr=1e-6",
    "algo=imaml algo.cg_steps=3",
    "algo=bmaml algo.outer=chaser algo.leader_steps=2",
    "algo=maml dataset=sinusoid dataset.noise=0.1 dataset.relative_noise=true",
    "algo=maml",  # defaults that have no effect were not typed
)


def told(words: str) -> list[str]:
    config = Composer().compose(words.split())
    return [*build(config, f"maml-train {words}").notes]


@pytest.mark.parametrize("words", WITHOUT)
def test_a_setting_without_effect_is_told_with_its_cause(words: str) -> None:
    assert told(words) == [WITHOUT[words]]


@pytest.mark.parametrize("words", WITH)
def test_a_setting_with_an_effect_is_not_told(words: str) -> None:
    assert told(words) == []


def test_the_run_tells_it_before_it_trains(maml_train: Callable) -> None:
    outcome = maml_train(
        "algo=maml", "dataset=sinusoid", "algo.da_epochs=2", "train.epochs=1",
        "train.iterations_per_epoch=1",
        "eval.val_episodes=2", "eval.test_episodes=2",
    )  # fmt: skip
    assert outcome.code == 0
    assert "algo.da_epochs=2 has no effect: algo.da=false" in outcome.out + outcome.err
