"""Switches of the MAML family that contradict each other: one sentence each, and the way out."""

import re

import pytest

from maml_cli.config.check import problems

CASES = {
    "algo=tnet algo.adapts=[norm]": "algo.warp=true shapes the inner steps of weights",
    "algo=cavia algo.adapts=[body]": "algo.contexts=100 is a context that algo.adapts=[body]",
    "algo=maml algo.adapts=[context]": "algo.contexts=0: algo.adapts=[context] adapts a context",
    "algo=maml algo.film=2": "algo.film=2 is where a context modulates, but algo.contexts=0",
    "algo=alfa algo.lslr=true": (
        "algo.alfa=true generates the inner rates, which algo.lslr would learn: set algo.lslr=false"
    ),
    "algo=platipus algo.start=here init_from=there": (
        "algo.start=here and init_from=there both give the first weights"
    ),
    "algo=bmaml eval.bn_stats=running": (
        "eval.bn_stats=running: algo=bmaml gathers no running statistics: set eval.bn_stats=batch, "
        "support or support_and_query"
    ),
    "algo=alfa algo.inner_optimizer=adam": "algo.inner_optimizer=adam: algo.alfa=true",
    "algo=maml algo.released_system=true": "algo.released_system=true is a choice of iMAML",
    "algo=imaml algo.proximal=0.0": "algo.proximal=0.0: algo.implicit=true",
    "algo=imaml algo.order=1": "algo.order=1: algo.implicit=true",
    "algo=imaml algo.mask=unit": "algo.mask=unit: algo.implicit=true",
    **{
        f"algo=imaml algo.{switch}=true": f"algo.{switch}=true: algo.implicit=true"
        for switch in (
            *("msl", "da", "bnwb", "bnrs", "lslr", "rate_per_weight"),
            *("curvature", "alfa", "recompute"),
        )
    },
}


@pytest.mark.parametrize("words", CASES)
def test_each_contradiction_is_one_sentence_with_the_way_out(words):
    [found] = problems(words.split())
    assert found.startswith(CASES[words])
    assert re.search(r"(set|add) .*(algo|eval)\.|leave one", found)
