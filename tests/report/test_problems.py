"""Optimisers in a report: their own table and chart, and pairs whatever the budgets."""

from dataclasses import replace
from math import inf, nan

from results import OMNIGLOT, changed, course

from maml_cli.core.metric import LOSS
from maml_cli.core.results import Descents, RunResults, Spread
from maml_cli.report.collect import Run
from maml_cli.report.group import Group
from maml_cli.report.problems import losses
from maml_cli.report.section import title

LOSSES = course({0: (3.0, 0.5), 20: (0.2, 0.02), 33: (0.15, 0.01), 100: (0.08, 0.01)}, 40)
SPREAD = {
    0: Spread(3.0, 2.0, 4.0, 0),
    20: Spread(0.18, 0.1, 0.3, 0),
    33: Spread(0.14, 0.1, 0.2, 0),
    100: Spread(0.05, 0.01, 0.2, 2),
}


def optimiser(**changes) -> RunResults:
    found = changed(
        OMNIGLOT,
        **{
            **{"algo": "adam", "dataset": "quadratics", "metric": LOSS, "ways": 1, "shots": 1},
            **{"bn_stats": None, "ensemble": LOSSES, "single": LOSSES, "ensemble_size": 1},
            "descents": Descents(spread=SPREAD, seconds_per_step=44e-6),
        }
        | changes,
    )
    return replace(found, learned=("rate 0.1",))


def test_the_results_come_back_as_they_were() -> None:
    assert RunResults.from_json(optimiser().to_json()) == optimiser()


def test_a_loss_that_is_not_finite_is_null() -> None:
    lost = {**SPREAD, 100: Spread(inf, inf, inf, 40)}
    ended = course({0: (3.0, 0.5), 20: (0.2, 0.02), 33: (0.15, 0.01), 100: (inf, nan)}, 40)
    found = optimiser(
        descents=Descents(spread=lost, seconds_per_step=1.0), ensemble=ended, single=ended
    )
    back = RunResults.from_json(found.to_json()).test.descents
    assert back is not None
    assert back.spread[100].diverged == 40


def test_the_table_has_the_milestones(tmp_path) -> None:
    group = Group((Run(tmp_path / "results.json", optimiser()),))
    header, [row] = losses([group], {})
    assert header[:3] == ("optimiser", "loss, 20 steps", "loss, 100 steps")
    assert row[0] == "Adam"
    assert row[1] == "0.200 ± 0.020, median 0.18"
    assert row[2] == "0.080 ± 0.010, median 0.05, 2 diverged"
    assert row[3] == "44"
    assert title(group.setting) == "Quadratics"
