"""The scripts that reproduce the papers' tables: maml-train takes every call they make."""

import json
import os
import runpy
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.core.experiment import Experiment

ROOT = Path(__file__).parents[1]
BASH = shutil.which("bash") or "bash"
STUDIES = (
    *("reproduce_sinusoid", "reproduce_omniglot", "reproduce_mini_imagenet"),
    *("reproduce_uncertainty", "reproduce_comparing", "ablate_mamlpp"),
)


def commands(script: str, *arguments: str, **environment: str) -> list[list[str]]:
    done = subprocess.run(
        [BASH, ROOT / "scripts" / f"{script}.sh", *arguments],
        env=os.environ | {"DRY": "1"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [shlex.split(line) for line in done.stdout.splitlines()]


@cache
def composer() -> Composer:
    return Composer()


def experiment(command: list[str]) -> Experiment:
    """What a call of maml-train composes; raises UsageError if it is not valid."""
    overrides = [argument for argument in command[1:] if not argument.startswith("hydra.")]
    return build(composer().compose(overrides), command="")


@pytest.mark.parametrize("budget", ["full", "short"])
def test_studies_share_a_folder_only_for_the_same_run(budget: str) -> None:
    runs: dict[str, list[str]] = {}
    for script in (*STUDIES, "reproduce_papers"):
        for command in commands(script, BUDGET=budget, SEEDS="3"):
            folder = command[-1]
            if folder.startswith("hydra.run.dir="):
                same = runs.setdefault(folder, command)
                if same is not command:
                    assert experiment(same).resolved == experiment(command).resolved, folder


@pytest.mark.parametrize("budget", ["full", "short"])
@pytest.mark.parametrize("script", STUDIES)
def test_every_command_is_valid(script: str, budget: str) -> None:
    *runs, page, text, terminal = commands(script, BUDGET=budget, SEEDS="3")
    folders = [
        argument for run in runs for argument in run if argument.startswith("hydra.run.dir=")
    ]
    assert len(set(folders)) == len(runs) >= 4
    for run in runs:
        assert Path(run[0]).name == "maml-train"
        assert experiment(run).run.seed == 3
    places = [folder.removeprefix("hydra.run.dir=") for folder in folders]
    suffix = "_short" if budget == "short" else ""
    for report, ending in ((page, ".html"), (text, ".md")):
        assert [word for word in report[1:-2] if word != "--calibration"] == places
        assert report[-1].endswith(f"{suffix}{ending}")
    assert [word for word in terminal[1:] if word != "--calibration"] == places


def test_a_short_budget_is_a_part_of_the_full_one() -> None:
    [full, *_] = commands("ablate_mamlpp", SEEDS="0")
    [short, *_] = commands("ablate_mamlpp", SEEDS="0", BUDGET="short")
    lengths = [
        (train.epochs * train.iterations_per_epoch, train.tasks_per_batch)
        for train in (experiment(full).train, experiment(short).train)
    ]
    assert lengths == [(50_000, 8), (500, 8)]


def test_each_row_of_the_ablation_is_one_change() -> None:
    *runs, _, _, _ = commands("ablate_mamlpp", SEEDS="0")
    on = [
        {name for name, value in experiment(run).algo.toggles().items() if value is True}
        - {"second_order"}
        for run in runs
    ]
    all_six = {"msl", "da", "bnrs", "bnwb", "lslr", "ca"}
    assert on == [set(), {"msl"}, {"lslr"}, {"da"}, {"bnrs", "bnwb"}, {"ca"}, all_six]


def test_seeds_and_arguments_reach_every_run() -> None:
    *runs, _, _, _ = commands("ablate_mamlpp", "download=true", SEEDS="4 5")
    assert all("download=true" in run for run in runs)
    assert sum("seed=4" in run for run in runs) == sum("seed=5" in run for run in runs) == 7


def test_waves_of_learned_geometry_are_also_tested_with_other_points() -> None:
    *calls, _, _, _ = commands("reproduce_geometry_sinusoid", SEEDS="0")
    runs = [call for call in calls if Path(call[0]).name == "maml-train"]
    tests = [call for call in calls if Path(call[0]).name == "maml-eval"]
    assert len(calls) == len(runs) + len(tests)
    found = [experiment(run) for run in runs]
    lengths = [e.train.epochs * e.train.iterations_per_epoch for e in found]
    assert lengths == [60_000] * 3 + [50_000] * 5
    assert [e.run.shots for e in found] == [10] * 8
    assert [getattr(e.algo, "contexts", 0) for e in found] == [0, 0, 0, 5, 1, 2, 3, 4]
    assert [call[2] for call in tests] == ["shots=5", "shots=20"] * 3
    trained = {run[-1].removeprefix("hydra.run.dir=") for run in runs[:3]}
    assert {call[1].removeprefix("run=") for call in tests} == trained


def test_optimisers_are_also_tested_on_other_networks_and_steps() -> None:
    *calls, _, _, _ = commands("reproduce_learned_optimizers", SEEDS="0", IMAGES="drawn")
    runs = [call for call in calls if Path(call[0]).name == "maml-train"]
    tests = [call for call in calls if Path(call[0]).name == "maml-eval"]
    assert len(calls) == len(runs) + len(tests)
    found = [experiment(run) for run in runs]
    names = {"lstm_optimizer", "sgd", "momentum", "nesterov", "rmsprop", "adam"}
    for dataset in ("quadratics", "digits_mlp"):
        assert {e.algo.name for e in found if e.dataset.name == dataset} == names
    changes = ["eval.inner_steps=200", "dataset.hidden=[40]", "dataset.hidden=[20,20]"]
    changes += ["dataset.activation=relu", "eval.inner_steps=10000"]
    assert [call[2] for call in tests] == [change for change in changes for _ in names]
    trained = {run[-1].removeprefix("hydra.run.dir=") for run in runs if "digits" in run[-1]}
    assert {call[1].removeprefix("run=") for call in tests} == trained


@pytest.mark.parametrize("budget", ["full", "short"])
def test_weights_of_the_papers_rows_are_tested_on_their_other_tasks(budget: str) -> None:
    *calls, _, _, _ = commands("reproduce_papers", SEEDS="3", BUDGET=budget)
    trained = set()
    for call in calls:
        if Path(call[0]).name == "maml-train":
            assert experiment(call).run.seed == 3
            trained.add(call[-1].removeprefix("hydra.run.dir="))
        else:
            assert call[1].removeprefix("run=") in trained
            assert call[2:-1] in (["shots=5"], ["ways=20"], ["ways=20", "shots=5"])


def test_gradients_of_reptile_come_from_minibatches_that_do_not_overlap() -> None:
    *calls, _, _, _, drawn = commands("reproduce_reptile_gradients", SEEDS="0")
    found = [experiment(call) for call in calls]
    for e in found:
        assert e.train.epochs * e.train.iterations_per_epoch == 40_000
        assert e.algo.inner_steps * e.algo.inner_batch == e.run.ways * e.run.train_shots
    lines = [(e.algo.inner_steps, e.algo.outer_gradients, e.train.outer_lr) for e in found]
    alone = [(1, "sum", 0.25), *((k, "last", 0.25) for k in (2, 3, 4))]
    summed = [(k, "sum", rate) for k in (2, 3, 4) for rate in (0.25, round(0.25 / k, 4))]
    assert sorted(lines) == sorted(alone + summed)
    assert drawn[1] == "scripts/reptile_gradients.py"


@pytest.mark.parametrize(
    ("steps", "gradients", "rate", "name"),
    [
        (1, "sum", 0.25, "g1"),
        (3, "last", 0.25, "g3"),
        (3, "sum", 0.25, "g1 + g2 + g3"),
        (3, "sum", 0.0833, "1/3 (g1 + g2 + g3)"),
    ],
)
def test_a_line_of_gradients_is_named_after_its_settings(
    steps: int, gradients: str, rate: float, name: str, tmp_path: Path
) -> None:
    algo = {"inner_steps": steps, "outer_gradients": gradients}
    (tmp_path / "config.yaml").write_text(json.dumps({"algo": algo, "train": {"outer_lr": rate}}))
    script = runpy.run_path(str(ROOT / "scripts" / "reptile_gradients.py"))
    assert script["name"](tmp_path) == name


def test_another_budget_is_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        commands("ablate_mamlpp", BUDGET="tiny")
    assert failure.value.stderr == "error: BUDGET=tiny: choose full or short\n"
