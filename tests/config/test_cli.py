"""From the command line to the runner and back: directories, sweeps, messages and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import maml_cli.runs.train
from maml_cli.core.errors import DataError, DivergedError
from maml_cli.core.experiment import Experiment

Runs = list[tuple[Experiment, Path]]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """The runs that were started; each writes results.json and does nothing else."""
    started: Runs = []

    def run(experiment: Experiment, output_dir: Path) -> dict[str, Any]:
        started.append((experiment, output_dir))
        (output_dir / "results.json").write_text("{}")
        (output_dir / "config.yaml").write_text(experiment.resolved)
        (output_dir / "table.md").write_text("the table\n")
        return {}

    monkeypatch.setattr(maml_cli.runs.train, "run", run)
    return started


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Makes runs with one seed raise an error; returns the seeds of all that were started."""

    def fail(error: BaseException, *, seed: int = 0) -> list[int]:
        seeds = []

        def run(experiment: Experiment, _: Path) -> dict[str, Any]:
            seeds.append(experiment.run.seed)
            if experiment.run.seed == seed:
                raise error
            return {}

        monkeypatch.setattr(maml_cli.runs.train, "run", run)
        return seeds

    return fail


def test_a_run_gets_its_experiment_and_a_folder(maml_train: Callable, runs: Runs) -> None:
    outcome = maml_train("algo=maml", "dataset=omniglot", "ways=20", "seed=3")
    assert (outcome.code, outcome.err) == (0, "")
    [(experiment, folder)] = runs
    assert (experiment.algo.name, experiment.run.ways, experiment.run.seed) == ("maml", 20, 3)
    assert experiment.command == "maml-train algo=maml dataset=omniglot ways=20 seed=3"
    assert folder.parent == Path.cwd() / "outputs/omniglot/maml"
    assert folder.name.startswith("20way-1shot-seed3-")
    written = {file.name for file in folder.iterdir()}
    assert written == {"results.json", "config.yaml", "table.md"}  # and no log of Hydra's
    assert [file.name for file in Path.cwd().iterdir()] == ["outputs"]


def test_runs_of_the_same_second_have_folders_of_their_own(
    maml_train: Callable, runs: Runs
) -> None:
    for _ in range(8):
        maml_train("dataset=sinusoid")
    assert len({folder for _, folder in runs}) == 8


@pytest.mark.parametrize("spelling", ["experiment=quickstart", "+experiment=quickstart"])
def test_both_spellings_of_an_experiment(maml_train: Callable, runs: Runs, spelling: str) -> None:
    assert maml_train(spelling, "seed=1").code == 0
    assert runs[0][0].dataset.name == "glyphs"
    assert runs[0][0].command == "maml-train experiment=quickstart seed=1"


def test_a_sweep_runs_every_combination(maml_train: Callable, runs: Runs) -> None:
    outcome = maml_train("--multirun", "algo=maml,mamlpp", "dataset=sinusoid", "seed=range(0,3)")
    assert outcome.code == 0
    combinations = [(experiment.algo.name, experiment.run.seed) for experiment, _ in runs]
    assert combinations == [(a, s) for a in ("maml", "mamlpp") for s in (0, 1, 2)]
    assert [folder.name for _, folder in runs] == ["0", "1", "2", "3", "4", "5"]
    [sweep] = {folder.parent for _, folder in runs}
    assert sweep.parent == Path.cwd() / "outputs/sweeps"
    assert runs[5][0].command == "maml-train algo=mamlpp dataset=sinusoid seed=2"


def test_a_finished_run_is_never_overwritten(maml_train: Callable, runs: Runs) -> None:
    assert maml_train("hydra.run.dir=here").code == 0
    again = maml_train("hydra.run.dir=here")
    assert again.code == 0
    assert f"{Path.cwd() / 'here'} holds this run, finished" in again.err
    assert again.out == "the table\n"
    other = maml_train("hydra.run.dir=here", "seed=7")
    assert other.code == 4
    assert other.errors[1:] == ["seed: it has 0, now asked for is 7"]
    assert len(runs) == 1
    assert json.loads(Path("here/results.json").read_text()) == {}


@pytest.mark.parametrize(
    ("error", "code"), [(DataError("no data", "and more"), 3), (DivergedError("nan"), 5)]
)
def test_an_end_that_is_no_bug_is_said_in_a_line(
    maml_train: Callable, failing: Callable, error: Exception, code: int
) -> None:
    failing(error)
    outcome = maml_train()
    assert outcome.code == code
    assert outcome.err == "".join(f"error: {line}\n" for line in str(error).splitlines())


def test_a_bug_leaves_its_traceback_in_a_file(maml_train: Callable, failing: Callable) -> None:
    failing(ZeroDivisionError("by hand"))
    outcome = maml_train("hydra.run.dir=here")
    log = Path.cwd() / "here/error.log"
    assert outcome.code == 1
    assert outcome.err == f"bug: ZeroDivisionError: by hand; details in {log}\n"
    assert log.read_text().startswith("Traceback")


def test_an_interrupt_is_no_error(maml_train: Callable, failing: Callable) -> None:
    failing(KeyboardInterrupt())
    outcome = maml_train()
    assert (outcome.code, outcome.err) == (130, "interrupted\n")


def test_a_failing_job_does_not_stop_the_others(maml_train: Callable, failing: Callable) -> None:
    seeds = failing(DataError("no data for seed 1"), seed=1)
    outcome = maml_train("-m", "seed=0,1,2")
    assert seeds == [0, 1, 2]
    assert outcome.code == 3
    assert outcome.errors == ["no data for seed 1"]
    assert "Traceback" not in outcome.err


def test_an_output_folder_that_cannot_be_made(maml_train: Callable, runs: Runs) -> None:
    Path("file").write_text("in the way")
    outcome = maml_train("hydra.run.dir=file/run")
    assert outcome.code == 6
    said = f"{Path('file/run')}: Not a directory; choose another place with hydra.run.dir=DIR"
    assert outcome.errors == [said]
    assert runs == []


def test_relative_paths_are_relative_to_where_the_command_is_typed(
    maml_train: Callable, runs: Runs
) -> None:
    maml_train("data_dir=here")
    assert runs[0][0].run.data_dir == "here"
    assert Path.cwd().name != "outputs"


def test_the_data_folder_comes_from_the_environment(
    maml_train: Callable, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAML_DATA_DIR", "/elsewhere")
    maml_train()
    monkeypatch.delenv("MAML_DATA_DIR")
    maml_train()
    assert [experiment.run.data_dir for experiment, _ in runs] == ["/elsewhere", "data"]
