"""Pooling and its intervals, against a table of Student's t and a pencil."""

from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
from results import course

from maml_cli.core.metric import MSE
from maml_cli.core.results import Retest
from maml_cli.core.stats import estimate
from maml_cli.report.collect import collect
from maml_cli.report.group import grouped

from .conftest import MakeRun

T_2_975 = 4.303
"""Quantile 0.975 of Student's t with 2 degrees of freedom, from a printed table."""


def test_the_interval_over_three_seeds(make_run: MakeRun, tmp_path: Path) -> None:
    """Mean 0.92; squared deviations 4 + 0 + 4, over 2, are 4: s is 0.02."""
    for seed, mean in enumerate((0.90, 0.92, 0.94)):
        make_run(f"run{seed}", mean, seed=seed)
    [group], repeated = grouped(collect([tmp_path]).runs)
    assert group.seeds == [0, 1, 2]
    assert repeated == []
    result = group.result("ensemble")
    assert result.n == 3
    assert result.mean == pytest.approx(0.92)
    assert result.ci95 == pytest.approx(T_2_975 * 0.02 / 3**0.5, rel=1e-4)
    assert group.result("single").mean == pytest.approx(0.90)
    assert group.course[1] == pytest.approx((0.8, 0.0, 3))


def test_a_single_seed_keeps_its_interval_over_episodes(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("run", 0.9, ci95=0.013)
    [group], _ = grouped(collect([tmp_path]).runs)
    assert group.result("ensemble") == (0.9, 0.013, 600)


def test_two_values_by_hand() -> None:
    """Mean 2; s is the root of 2; t for 1 degree of freedom is 12.706."""
    mean, ci95, n = estimate([1.0, 3.0])
    assert (mean, n) == (2.0, 2)
    assert ci95 == pytest.approx(12.706 * 2**0.5 / 2**0.5, rel=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        {"queries": 15},
        {"iterations": 500},
        {"tasks_per_batch": 2},
        {"bn_stats": "running"},
        {"inner_steps": 10},
        {"remarks": ["half of the images"]},
        {"switches": {"msl": True}},
        {"backbone": "resnet12"},
        {"split": "val", "retest": Retest(run="run", trained_by="maml-train", epochs=3)},
        {"ensemble": course({0: (0.2, 0.0), 1: (0.8, 0.1), 2: (0.9, 0.01)}, episodes=100)},
        {"ensemble_size": 1},
        {"config": {"algo": {"name": "maml", "inner_lr": 0.4}}},
        {"config": {"train": {"outer_lr": 0.01}}},
    ],
    ids=str,
)
def test_other_protocols_are_not_pooled(
    make_run: MakeRun, tmp_path: Path, other: dict[str, object]
) -> None:
    make_run("one", seed=0)
    make_run("other", **({"seed": 1} | other))
    groups, _ = grouped(collect([tmp_path]).runs)
    assert [len(group.runs) for group in groups] == [1, 1]


RECOMPUTED = {"algo": {"name": "maml", "inner_lr": 0.1, "recompute": True}}


@pytest.mark.parametrize(
    "free", [{"device": "cuda"}, {"data_dir": "/elsewhere"}, RECOMPUTED], ids=str
)
def test_other_machines_are_pooled(
    make_run: MakeRun, tmp_path: Path, free: dict[str, object]
) -> None:
    make_run("one", seed=0)
    make_run("other", seed=1, config=free)
    [group], _ = grouped(collect([tmp_path]).runs)
    assert group.seeds == [0, 1]


def test_a_repeated_seed_is_no_second_seed(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a", 0.9)
    again = make_run("b", 0.8)
    [group], [repeated] = grouped(collect([tmp_path]).runs)
    assert group.seeds == [0]
    assert group.result("ensemble").mean == 0.9
    assert repeated.folder == again


def test_what_diverged_is_no_number(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("run", nan, ci95=nan, metric=replace(MSE, per_step=False))
    [group], _ = grouped(collect([tmp_path]).runs)
    assert str(group.result("ensemble").mean) == "nan"


def test_patience_that_ended_nothing_makes_no_other_group(make_run: MakeRun) -> None:
    run = make_run("run", seed=0)
    patient = make_run("patient", seed=1, config={"train": {"patience": 30}})
    [group], _ = grouped(collect([run, patient]).runs)
    assert group.seeds == [0, 1]
    ended = make_run("ended", seed=2, iterations=50, config={"train": {"patience": 30}})
    assert len(grouped(collect([run, patient, ended]).runs)[0]) == 2
