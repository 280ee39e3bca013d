"""A sweep in a fixed folder: done jobs are skipped, broken ones go on, one does not stop others."""

import json
import os
import signal
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from faults import processes
from faults.conftest import MAML
from faults.processes import LOG, done, ended, outcome, pgrep, wait_for

from maml_cli.core.errors import DivergedError
from maml_cli.training.loop import Trainer

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def begun(log: Path, *arguments: str) -> ForkServerProcess:
    return processes.begun(["-m", *MAML, *arguments], log)


def completed(log: Path, *arguments: str) -> str:
    """What a sweep that ends well prints, into the log."""
    code = ended(begun(log, *arguments))
    printed = log.read_text()
    assert code == 0, printed
    return printed


def test_a_sweep_survives_a_failing_job(tmp_path, maml_train, run_to, monkeypatch, uninterrupted):
    folder = tmp_path / "sweep"
    sweep = ("-m", *MAML, "seed=0,1,2", f"hydra.sweep.dir={folder}")
    real = Trainer._end_epoch

    def end_epoch(self, run):
        if "seed: 1\n" in self.metadata["config"] and run.epoch == 1:
            raise DivergedError("injected")
        real(self, run)

    with monkeypatch.context() as fault:
        fault.setattr(Trainer, "_end_epoch", end_epoch)
        first = maml_train(*sweep)
    assert first.code == 5
    assert "injected" in first.err
    table = (folder / "table.md").read_text()
    assert first.out.endswith(table)
    assert ["no result" in line for line in table.splitlines()[2:5]] == [False, True, False]

    second = maml_train(*sweep)
    assert second.code == 0
    assert second.err.count("holds this run, finished") == 2
    assert second.err.count("goes on after iteration 13 ") == 1
    assert "no result" not in (folder / "table.md").read_text()
    assert outcome(folder / "0") == uninterrupted
    assert run_to(tmp_path / "alone", "seed=1").code == 0
    assert outcome(folder / "1") == outcome(tmp_path / "alone")


def test_the_table_shows_what_was_swept(tmp_path, maml_train):
    words = ("seed=0", "algo.inner_lr=0.01,0.02", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert maml_train("-m", *MAML, *words).code == 0
    header, _, first, second = (tmp_path / "sweep" / "table.md").read_text().splitlines()[:4]
    columns = [cell.strip() for cell in header.split("|")]
    assert columns[1:7] == ["job", "algo", "dataset", "ways", "shots", "seed"]
    assert columns[7:-1] == ["algo.inner_lr", "metric", "test"]
    assert [line.split("|")[7].strip() for line in (first, second)] == ["0.01", "0.02"]


@pytest.mark.parametrize(
    "repeat", [0, *(pytest.param(n, marks=pytest.mark.faults_full) for n in range(1, 10))]
)
def test_a_parallel_sweep_leaves_no_workers_and_is_completed(tmp_path, uninterrupted, repeat):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs maml-train[sweep]")
    folder = tmp_path / "sweep"
    words = (*JOBLIB, "seed=0,1,2", f"hydra.sweep.dir={folder}")
    sweep = begun(tmp_path / "begun.txt", *words)
    wait_for(lambda: list(folder.glob(f"*/checkpoints/epoch-000{1 + repeat % 3}.pt")))
    workers = pgrep("-P", str(sweep.pid), "-f", "popen_loky_posix")
    assert workers
    sweep.terminate()
    ended(sweep)
    wait_for(lambda: not any(alive(pid) for pid in workers))
    printed = completed(tmp_path / "completed.txt", *words, "hydra.launcher.n_jobs=1")
    table = (folder / "table.md").read_text()
    assert table in printed
    assert (table.count("mse"), table.count("no result")) == (3, 0)
    assert outcome(folder / "0") == uninterrupted  # which nothing ran beside


def test_a_job_that_slurm_takes_away_is_put_back_and_goes_on(tmp_path, uninterrupted):
    """With submitit's stand-in for Slurm, whose signal and whose queue are submitit's own."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs maml-train[slurm]")
    folder = tmp_path / "sweep"
    words = ("hydra/launcher=submitit_local", "seed=0", f"hydra.sweep.dir={folder}")
    sweep = begun(tmp_path / LOG, *words)
    wait_for(lambda: list(folder.glob("0/checkpoints/epoch-0001.pt")))
    [job] = pgrep("-f", f"submitit.core._submit {folder}")
    os.kill(job, signal.SIGUSR2)
    assert ended(sweep) == 0, (tmp_path / LOG).read_text()
    [said, log] = [path.read_text() for path in sorted(folder.glob(".submitit/*/*_log.*"))]
    assert "Requeued job" in log
    assert "goes on after iteration" in said
    assert outcome(folder / "0") == uninterrupted


def test_the_preset_for_slurm_is_whole(maml_train):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs maml-train[slurm]")
    words = ("hydra/launcher=slurm", "hydra.launcher.partition=gpu")
    shown = maml_train(*words, "--cfg", "hydra", "--package", "hydra.launcher")
    assert shown.code == 0
    assert "max_num_timeout: 100" in shown.out
    assert "partition: gpu" in shown.out
    assert "submitit_launcher.SlurmLauncher" in shown.out


def test_a_search_goes_where_the_validation_is_best_and_can_be_repeated(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs maml-train[optuna]")
    folder = tmp_path / "search"
    words = (
        *("hydra/sweeper=search", "hydra.sweeper.n_trials=3", f"hydra.sweep.dir={folder}"),
        "algo.inner_lr=tag(log, interval(0.001, 1))",
    )
    printed = completed(tmp_path / "first.txt", *words)
    table = (folder / "table.md").read_text()
    assert table.count("mse") == 3
    best = max(job_values(folder))
    assert f"best_value: {best}" in (folder / "optimization_results.yaml").read_text()
    assert "holds this run, finished" not in printed
    again = completed(tmp_path / "again.txt", *words)
    assert again.count("holds this run, finished") == 3
    assert (folder / "table.md").read_text() == table


def job_values(folder: Path) -> list[float]:
    """Minus the validation error of each job's best epoch, from its metrics."""
    values = []
    for file in folder.glob("*/metrics.jsonl"):
        records = map(json.loads, file.read_text().splitlines())
        values.append(-min(r["val"][-1]["mean"] for r in records if r["kind"] == "val"))
    return values


@pytest.mark.faults_full
@pytest.mark.parametrize("seed", range(5))
def test_a_job_does_not_depend_on_how_it_was_launched(tmp_path, seed):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs maml-train[sweep]")
    folder = tmp_path / "sweep"
    completed(tmp_path / LOG, *JOBLIB, f"seed={seed},{seed + 10}", f"hydra.sweep.dir={folder}")
    done(tmp_path / "alone", *MAML, f"seed={seed}")
    assert outcome(folder / "0") == outcome(tmp_path / "alone")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
