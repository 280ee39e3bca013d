"""Options that cannot work together are refused in one sentence; all others combine."""

from itertools import product

import pytest
from problems import ALL_OFF

from maml_cli.algos.maml import MAML


def problems(**changes):
    return MAML(**{**ALL_OFF, **changes}).check(experiment=None)


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


def test_all_other_switches_combine():
    names = ("msl", "da", "bnrs", "bnwb", "lslr", "ca", "rate_per_weight")
    for values in product([False, True], repeat=len(names)):
        switches = dict(zip(names, values, strict=True))
        for adapts in (["head"], ["body"], ["body", "head"]):
            assert problems(**switches, adapts=adapts) == []
