"""Every algorithm, stopped after any iteration, goes on exactly; two runs of one seed agree."""

import os
import signal
from pathlib import Path

import pytest
from faults.conftest import MAML
from faults.processes import ALGORITHMS, arguments_for, done, fits, outcome

import maml_cli.training.loop

DATA_DIR = Path(os.environ.get("MAML_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))


def stop_after(monkeypatch, iterations: int) -> list[int]:
    """Have SIGTERM come once, during the update of this iteration (from 1); when it came."""
    real, updates, sent = maml_cli.training.loop.is_finite, [], []

    def is_finite(step):
        updates.append(step)
        if len(updates) == iterations:
            sent.append(iterations)
            os.kill(os.getpid(), signal.SIGTERM)
        return real(step)

    monkeypatch.setattr(maml_cli.training.loop, "is_finite", is_finite)
    return sent


def stop_and_go_on(monkeypatch, maml_train, folder: Path, arguments, stops) -> None:
    """Compare a whole run with one for each of these stops."""
    assert maml_train(*arguments, f"hydra.run.dir={folder / 'whole'}").code == 0
    for iterations in stops:
        words = (*arguments, f"hydra.run.dir={folder / str(iterations)}")
        with monkeypatch.context() as fault:
            sent = stop_after(fault, iterations)
            assert maml_train(*words).code == 143
        assert sent == [iterations]
        assert f"goes on after iteration {iterations} " in maml_train(*words).err
        assert outcome(folder / str(iterations)) == outcome(folder / "whole")


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_goes_on_exactly(monkeypatch, tmp_path, tmp_path_factory, maml_train, algo):
    dataset = next(name for name in ("glyphs", "quadratics", "sinusoid") if fits(algo, name))
    cache = f"cache_dir={tmp_path_factory.getbasetemp() / 'cache'}"
    few = ("train.epochs=2", "train.iterations_per_epoch=3")
    words = [*arguments_for(algo, dataset), *few, cache]
    stop_and_go_on(monkeypatch, maml_train, tmp_path, words, [4])


def test_a_recorded_run_goes_on_exactly(monkeypatch, tmp_path, maml_train):
    """It records again in its second epoch, where its multi-step loss has other weights."""
    words = [*arguments_for("mamlpp", "sinusoid"), "engine=graph"]
    stop_and_go_on(monkeypatch, maml_train, tmp_path, words, [30])


@pytest.mark.faults_full
@pytest.mark.parametrize("dataset", ["sinusoid", "glyphs", "omniglot"])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_three_stops_of_every_algorithm(
    monkeypatch, tmp_path, tmp_path_factory, maml_train, algo, dataset
):
    if not fits(algo, dataset):
        pytest.skip(f"{algo} is not for {dataset}")
    if dataset == "omniglot" and not (DATA_DIR / "omniglot").is_dir():
        pytest.skip(f"no omniglot/ in {DATA_DIR}: set MAML_DATA_DIR to test on the drawings")
    folders = (f"data_dir={DATA_DIR}", f"cache_dir={tmp_path_factory.getbasetemp() / 'cache'}")
    stops = [1, 26, 51]  # the first, the last of an epoch, the last but one
    words = [*arguments_for(algo, dataset), *folders]
    stop_and_go_on(monkeypatch, maml_train, tmp_path, words, stops)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.faults_full) for n in range(1, 5))]
)
def test_the_same_seed_twice_in_fresh_processes(tmp_path, seed):
    for name in "ab":
        done(tmp_path / name, *MAML, f"seed={seed}")
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
