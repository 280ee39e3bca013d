"""Comparisons in pairs, by hand."""

from pathlib import Path

import pytest

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.results import Retest
from maml_cli.report.analysis import analyse
from maml_cli.report.collect import collect
from maml_cli.report.compare import compare_runs, paired
from maml_cli.report.group import grouped
from maml_cli.report.protocol import names

from .conftest import MakeRun


def test_a_paired_test_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, s 1, t = 2 root 3 = 3.4641 with 2 degrees of freedom.

    For 2 degrees of freedom the distribution has a closed form: the two-sided p-value is
    1 - t / root(t^2 + 2) = 1 - root(12/14).
    """
    found = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], over="episodes")
    assert found.difference == 2.0
    assert found.ci95 == pytest.approx(4.303 / 3**0.5, rel=1e-4)
    assert found.p_value == pytest.approx(1 - (12 / 14) ** 0.5)
    assert (found.n, found.over) == (3, "episodes")


def test_what_is_equal_differs_by_nothing() -> None:
    assert paired([0.2, 0.4], [0.2, 0.4], over="episodes")[:3] == (0.0, 0.0, 1.0)


def test_approaches_are_compared_over_shared_seeds(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, (plain, changed) in enumerate([(0.90, 0.91), (0.80, 0.82), (0.70, 0.73)]):
        make_run(f"plain{seed}", plain, seed=seed)
        make_run(f"msl{seed}", changed, seed=seed, switches={"msl": True})
    [comparison] = analyse(collect([tmp_path])).comparisons
    assert (comparison.ours, comparison.theirs) == ("MAML + MSL", "MAML")
    assert comparison.paired.difference == pytest.approx(0.02)
    assert comparison.paired.ci95 == pytest.approx(4.303 * 0.01 / 3**0.5, rel=1e-4)
    assert comparison.paired.over == "seeds"


def _right(percent: int) -> list[float]:
    """The scores of 100 episodes, so many of them 1."""
    return [1.0] * percent + [0.0] * (100 - percent)


def test_of_unequal_seeds_those_count_that_both_have(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, plain in enumerate([90, 80, 70]):
        make_run(f"plain{seed}", seed=seed, scores=_right(plain))
    make_run("msl1", seed=1, scores=_right(83), switches={"msl": True})
    for seed in (0, 2):  # differences 0.03 and 0.05
        make_run(f"lslr{seed}", seed=seed, scores=_right(93 - 9 * seed), switches={"lslr": True})
    lslr, msl = sorted(analyse(collect([tmp_path])).comparisons, key=lambda c: c.ours)
    assert (lslr.ours, lslr.theirs, lslr.paired.over) == ("MAML + LSLR", "MAML", "seeds")
    assert (lslr.paired.difference, lslr.paired.n) == (pytest.approx(0.04), 2)
    assert (msl.ours, msl.theirs, msl.paired.over) == ("MAML + MSL", "MAML", "episodes")
    assert msl.paired.difference == pytest.approx(0.03)


def test_single_runs_are_compared_over_episodes(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("plain", scores=[1.0, 0.0, 1.0])
    make_run("msl", scores=[1.0, 1.0, 0.0], switches={"msl": True})
    [comparison] = analyse(collect([tmp_path])).comparisons
    assert (comparison.paired.difference, comparison.paired.n) == (0.0, 3)
    assert comparison.paired.over == "episodes"


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"queries": 15},
        {"iterations": 500},
        {"task_pool": 100},
        {"ensemble_size": 1},
        {"config": {"dataset": {"invert": True}}},
    ],
    ids=str,
)
def test_what_is_not_comparable_is_not_compared(
    make_run: MakeRun, tmp_path: Path, other: dict[str, object]
) -> None:
    make_run("plain", scores=[1.0, 0.0, 1.0])
    make_run("msl", scores=[1.0, 1.0, 0.0], switches={"msl": True}, **other)
    assert not analyse(collect([tmp_path])).comparisons


def test_pairs_of_the_same_names_are_told_apart(make_run: MakeRun, tmp_path: Path) -> None:
    for pool in (100, 1000):
        for name, switches in (("plain", {}), ("msl", {"msl": True})):
            own = {"task_pool": pool, "config": {"train": {"task_pool": pool}}}
            make_run(f"{name}{pool}", scores=[1.0, 0.0], switches=switches, **own)
    found = {(c.ours, c.theirs) for c in analyse(collect([tmp_path])).comparisons}
    assert found == {
        (f"MAML + MSL, fixed training tasks {pool}", f"MAML, fixed training tasks {pool}")
        for pool in ("100", "1,000")
    }


def test_more_than_one_thing_may_be_needed_to_tell_runs_apart(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for iterations, rate in ((300, 0.1), (300, 0.2), (600, 0.1)):
        config = {"algo": {"name": "maml", "inner_lr": rate}}
        make_run(f"{iterations}, {rate}", iterations=iterations, config=config)
    groups, _ = grouped(collect([tmp_path]).runs)
    told = ["MAML, 300 × 8, inner rate 0.1", "MAML, 300 × 8, inner rate 0.2", "MAML, 600 × 8"]
    assert sorted(names(groups)) == told


def test_a_setting_that_not_all_runs_have_tells_them_apart(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("plain")
    for width in (3, 5):
        make_run(f"{width}", config={"algo": {"name": "maml", "inner_lr": 0.1, "width": width}})
    groups, _ = grouped(collect([tmp_path]).runs)
    assert sorted(names(groups)) == ["MAML", "MAML, algo.width=3", "MAML, algo.width=5"]


def test_other_episodes_are_refused(make_run: MakeRun) -> None:
    one, other = (make_run(f"{seed}", seed=seed, scores=[1.0, 0.0]) for seed in (0, 1))
    [run], [second] = collect([one]).runs, collect([other]).runs
    with pytest.raises(UsageError, match="seed: 0 against 1"):
        compare_runs(run, second)


def test_validation_and_test_episodes_are_not_compared(make_run: MakeRun, tmp_path: Path) -> None:
    retest = Retest(run="run", trained_by="maml-train", epochs=3)
    make_run("plain", scores=[1.0, 0.0, 1.0])
    msl = {"switches": {"msl": True}, "scores": [1.0, 1.0, 0.0]}
    validated = make_run("msl", **msl, split="val", retest=retest)
    assert not analyse(collect([tmp_path])).comparisons
    [run], [second] = collect([tmp_path / "plain"]).runs, collect([validated]).runs
    with pytest.raises(UsageError, match="split: test against val"):
        compare_runs(run, second)


def test_scores_that_were_not_kept_are_named(make_run: MakeRun) -> None:
    one, other = (make_run(name, scores=[1.0, 0.0]) for name in ("one", "other"))
    (other / "test_scores.json").unlink()
    [run], [second] = collect([one]).runs, collect([other]).runs
    with pytest.raises(DataError, match=r"other/results.json: no test_scores.json"):
        compare_runs(run, second)
