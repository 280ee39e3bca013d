"""Every algorithm, stopped after any iteration, goes on exactly; two runs of one seed agree."""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from faults.conftest import MAML
from faults.processes import ALGORITHMS, SMALL_IMAGES, TINY, arguments_for, done, fits, outcome
from picture_trees import tree, write_files

import maml_cli.training.loop
from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.core.errors import Interrupted
from maml_cli.runs.train import run

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


@pytest.fixture
def stop_and_go_on(monkeypatch, tmp_path, capsys) -> Callable[..., None]:
    """Compares a whole run of these arguments with one for each of these stops.

    The runs are those of `maml-train` without its command line, which takes a third of their time.
    """

    def compare(arguments: Iterable[str], stops: Iterable[int]) -> None:
        experiment = build(Composer().compose([*arguments]), "maml-train")
        run(experiment, tmp_path / "whole")
        for iterations in stops:
            folder = tmp_path / str(iterations)
            with monkeypatch.context() as fault:
                sent = stop_after(fault, iterations)
                with pytest.raises(Interrupted):
                    run(experiment, folder)
            assert sent == [iterations]
            run(experiment, folder)
            assert f"goes on after iteration {iterations} " in capsys.readouterr().err
            assert outcome(folder) == outcome(tmp_path / "whole")

    return compare


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_goes_on_exactly(stop_and_go_on, algo):
    dataset = next(name for name in ("glyphs", "quadratics", "sinusoid") if fits(algo, name))
    few = ("train.epochs=2", "train.iterations_per_epoch=3")
    stop_and_go_on([*arguments_for(algo, dataset), *few], [4])


def test_a_recorded_run_goes_on_exactly(stop_and_go_on):
    """It records again in its second epoch, where its multi-step loss has other weights."""
    stop_and_go_on([*arguments_for("mamlpp", "sinusoid"), "engine=graph"], [30])


def test_pictures_changed_at_random_go_on_exactly(stop_and_go_on, tmp_path):
    write_files(tmp_path / "pictures", tree({"train": 4, "val": 3, "test": 3}, 3))
    pictures = [f"dataset.path={tmp_path / 'pictures'}", "dataset.image_size=28"]
    changed = ["algo=reptile", "dataset=image_folder", *pictures, "dataset.augment=[crop,colour]"]
    few = ("shots=1", "train_shots=1", "algo.inner_steps=2", "train.epochs=2")
    few += ("train.iterations_per_epoch=3", "eval.inner_steps=2")
    stop_and_go_on([*changed, *SMALL_IMAGES, *TINY, *few], [4])


@pytest.mark.faults_full
@pytest.mark.parametrize("dataset", ["sinusoid", "glyphs", "omniglot"])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_three_stops_of_every_algorithm(stop_and_go_on, algo, dataset):
    if not fits(algo, dataset):
        pytest.skip(f"{algo} is not for {dataset}")
    if dataset == "omniglot" and not (DATA_DIR / "omniglot").is_dir():
        pytest.skip(f"no omniglot/ in {DATA_DIR}: set MAML_DATA_DIR to test on the drawings")
    stops = [1, 26, 51]  # the first, the last of an epoch, the last but one
    stop_and_go_on([*arguments_for(algo, dataset), f"data_dir={DATA_DIR}"], stops)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.faults_full) for n in range(1, 5))]
)
def test_the_same_seed_twice_in_fresh_processes(tmp_path, seed):
    for name in "ab":
        done(tmp_path / name, *MAML, f"seed={seed}")
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
