"""maml-eval: a trained run tested again, without a change to it."""

import csv
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from picture_trees import tree, write_files

from maml_cli.commands.evaluate import main
from maml_cli.commands.train import main as maml_train
from maml_cli.config.trained import trained_experiment

TINY = [
    *("algo=mamlpp", "dataset=glyphs", "backbone.filters=4", "ways=3", "queries=2"),
    *("train.epochs=3", "train.iterations_per_epoch=2", "train.tasks_per_batch=2"),
    *("eval.val_episodes=4", "eval.test_episodes=6", "eval.ensemble=2"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert maml_train([*TINY, f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture
def test_again(run, tmp_path):
    """Runs `maml-eval run=RUN output=NEW ARGUMENTS` and returns the results."""

    def test(*arguments: str) -> dict:
        output = tmp_path / f"output{len(list(tmp_path.iterdir()))}"
        assert main([f"run={run}", f"output={output}", *arguments]) == 0
        return results_in(output)

    return test


def results_in(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and "eval" not in p.parts]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_its_own_settings_give_its_own_result_in_a_new_folder_each_time(run, capsys):
    before, trained = digests(run), results_in(run)
    for times in (1, 2):
        assert main([f"run={run}"]) == 0
        folders = sorted((run / "eval").iterdir())
        assert len(folders) == times
        again = results_in(folders[-1])
        same = ("test", "test_single", "test_per_step", "calibration", "val", "iterations")
        for name in (*same, "inner_steps"):
            assert again[name] == trained[name]
        assert again["trained_by"] == trained["command"]
        assert again["seconds_per_iteration"] == trained["seconds_per_iteration"]
    table = (folders[0] / "table.md").read_text()
    assert table.splitlines()[:-1] == (run / "table.md").read_text().splitlines()[:-1]
    assert table.splitlines()[-1] == f"`maml-eval run={run}`"
    assert "test accuracy, ensemble of 2" in capsys.readouterr().out
    kept, own = (yaml.safe_load((f / "config.yaml").read_text()) for f in (folders[0], run))
    assert {**kept, "cache_dir": ""} == {**own, "cache_dir": ""}  # that is never a run's
    assert digests(run) == before


@pytest.mark.parametrize("reading", ["raw", "fitted"])
def test_the_scores_of_probabilities_are_those_of_the_episodes(run, reading):
    results = results_in(run)
    found = results["calibration"][reading]["scores"]
    episodes = json.loads((run / "test_scores.json").read_text())["calibration"][reading]
    for name in ("nll", "brier"):
        assert len(episodes[name]) == 6
        assert found[name]["mean"] == pytest.approx(np.mean(episodes[name]), abs=1e-5)
    count, confidence, hits = (np.sum(episodes[n], 0) for n in ("count", "confidence", "hits"))
    assert (count.shape, count.sum()) == ((15,), 6 * 3 * 2)
    assert hits.sum() / count.sum() == pytest.approx(results["test"]["mean"])
    ece = np.abs(confidence - hits).sum() / count.sum()
    assert found["ece"]["mean"] == pytest.approx(ece, abs=1e-5)
    assert (run / "reliability.png").is_file()


def test_the_first_steps_are_those_of_more_steps(test_again, run):
    more, fewer = (test_again(f"eval.inner_steps={n}") for n in (7, 2))
    trained = results_in(run)["test_per_step"]["mean"]  # of five steps
    assert more["test_per_step"]["mean"][:6] == trained
    assert fewer["test_per_step"]["mean"] == trained[:3]
    assert (more["inner_steps"], fewer["inner_steps"]) == (7, 2)


def test_the_course_over_steps_is_that_of_the_best_network_on_episodes_of_its_own_number(
    test_again, run
):
    few = test_again("eval.course_episodes=4")
    assert few["test"] == results_in(run)["test"]
    assert (few["test_per_step"]["episodes"], few["test_per_step"]["of"]) == (4, "test_single")
    alone = test_again("eval.test_episodes=4", "eval.ensemble=1")
    assert few["test_per_step"] == alone["test_per_step"]
    assert alone["test_per_step"]["mean"][-1] == alone["test"]["mean"]
    assert results_in(run)["test_per_step"]["episodes"] == 6  # all that there are


def test_data_that_are_read_otherwise_than_in_training_are_said(tmp_path, capsys):
    folder, output = tmp_path / "run", tmp_path / "output"
    words = ["algo=maml", "dataset=sinusoid", "shots=5", "queries=5", "dataset.noise=0.3"]
    assert maml_train([*words, *TINY[5:], f"hydra.run.dir={folder}"]) == 0
    assert main([f"run={folder}", f"output={output}", "dataset.noise=0.1"]) == 0
    assert "dataset.noise is 0.1, in training 0.3" in results_in(output)["remarks"]
    assert results_in(folder)["remarks"] == []
    other = tmp_path / "other"
    assert main([f"run={folder}", "dataset=polynomial", f"output={other}"]) == 0
    assert results_in(other)["remarks"] == ["trained on sinusoid, tested on polynomial"]
    assert main([f"run={folder}", "dataset=omniglot", "ways=5"]) == 2
    said = "dataset=omniglot has classes, but the run was trained on sinusoid, which has curves"
    assert said in capsys.readouterr().err


def test_an_ensemble_of_one_is_the_single_best(test_again, run):
    results = test_again("eval.ensemble=1")
    assert results["test"] == results_in(run)["test_single"] | {"ensemble": 1}


def test_the_validation_of_the_best_epoch_is_repeated(test_again, run):
    results = test_again("split=val")
    assert results["test_single"]["mean"] == pytest.approx(results_in(run)["val"]["mean"], abs=0)
    assert results["test_single"]["episodes"] == 4


def test_what_is_asked_for_is_done_and_told(test_again, run, capsys):
    results = test_again("shots=2", "seed=5", "eval.bn_stats=support", "eval.test_episodes=8")
    assert (results["shots"], results["seed"], results["bn_stats"]) == (2, 5, "support")
    assert results["test"]["episodes"] == 8
    assert results["test"]["mean"] != results_in(run)["test"]["mean"]
    out = capsys.readouterr().out
    assert "Mean over 8 test episodes" in out
    assert "2 shots and 2 queries per class; in training 1 shot and 2 queries;" in out
    assert [results[f"train_{size}"] for size in ("ways", "shots", "queries")] == [3, 1, 2]
    assert "batch norm by the statistics of the support set" in out
    test_again("split=val", "eval.val_episodes=3")
    assert "Mean over 3 validation episodes" in capsys.readouterr().out


def test_another_data_set_of_the_same_shape(tmp_path, run):
    """Its own pictures under another name, so that the result is known."""
    output = tmp_path / "other"
    assert main([f"run={run}", "dataset=glyphs", "dataset.name=twins", f"output={output}"]) == 0
    assert results_in(output)["test"] == results_in(run)["test"]
    assert results_in(output)["dataset"] == "twins"


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (
            ["train.epochs=3", "way=4", "eval.inner_steps=-1", "seed=x"],
            [
                "train.epochs=3: the run decides it; free are ways, shots",
                "way: no such key; did you mean ways?",
                "eval.inner_steps=-1: must be a whole number, at least 0",
                "seed=x: must be a whole number, at least 0",
            ],
        ),
        (["spilt=val"], ["spilt: no such key; did you mean split?"]),
        (["split=train"], ["split=train: must be val, test or new"]),
        (["eval.val_episodes=3"], ["eval.val_episodes=3: the run decides it"]),
        (["algo=maml"], ["algo=maml: the run decides it"]),
        (["dataset=glyhps"], ["dataset=glyhps: no such dataset; did you mean glyphs?"]),
        (["shots=1,2"], ["shots=1,2: several values; give one"]),
        (["~seed"], ["~seed: every key is needed"]),
        (["ways"], ["ways: not an override"]),
        (["queries=50"], ["shots=1 + queries=50 needs 51 images per class, but glyphs has 20"]),
        (["eval.ensemble=3"], ["eval.ensemble=3: the run keeps its 2 best epochs"]),
        (["ways=4"], ["model.head.weight would have to be 4 x 4, but is 3 x 4"]),
    ],
)
def test_what_cannot_be_is_said_all_at_once_before_anything_is_written(
    run, tmp_path, arguments, messages, capsys
):
    output = tmp_path / "output"
    assert main([f"run={run}", f"output={output}", *arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    for message in messages:
        assert any(message in line for line in errors), errors
    assert not output.exists()


def test_nothing_is_overwritten(run, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("kept")
    assert main([f"run={run}", f"output={tmp_path}"]) == 2
    assert "nothing is ever overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_ways_change_where_the_head_allows(tmp_path):
    run, output = tmp_path / "run", tmp_path / "again"
    words = [word.replace("mamlpp", "nearest_neighbour") for word in TINY]
    assert maml_train([*words, f"hydra.run.dir={run}"]) == 0
    assert main([f"run={run}", f"output={output}", "ways=5"]) == 0
    test = results_in(output)["test_per_step"]["mean"][-1] * 6 * 5 * 2  # right answers, of 60
    assert test == pytest.approx(round(test), abs=1e-4)
    assert results_in(output)["ways"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run=DIR is missing"),
        (["run=nowhere"], "run=nowhere: no run is there (it has no config.yaml)"),
    ],
)
def test_the_run_must_be_there(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("part", ["checkpoints", "checkpoints/epoch-0002.pt"])
def test_a_part_of_a_run_names_the_run(run, part, capsys):
    assert main([f"run={run / part}"]) == 2
    assert f"part of a run: write {shlex.quote(f'run={run}')}, the" in capsys.readouterr().err


def test_pictures_take_the_size_that_the_network_was_trained_on(run, tmp_path, capsys):
    pictures, output = tmp_path / "pictures", tmp_path / "out"
    write_files(pictures, tree({"test": 4}, 4))
    data = ["dataset=image_folder", f"dataset.path={pictures}"]
    assert main([f"run={run}", *data, f"output={output}"]) == 0
    assert "note: dataset.image_size=28 dataset.channels=1, as the run" in capsys.readouterr().err
    dataset = yaml.safe_load((output / "config.yaml").read_text())["dataset"]
    assert (dataset["image_size"], dataset["channels"]) == (28, 1)


def test_a_folder_of_runs_is_no_run(run, capsys):
    assert main([f"run={run.parent}"]) == 2
    assert "in it are the runs run" in capsys.readouterr().err


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the run that may be damaged."""
    for source in (run / "config.yaml", *(run / "checkpoints").iterdir()):
        target = tmp_path / source.relative_to(run)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    return tmp_path


def test_the_group_that_the_run_has_changes_nothing(copied):
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("name: glyphs", "name: signs"))
    again = trained_experiment(
        copied, ["dataset=glyphs"], changeable=["dataset"], others=(), command=""
    )
    assert again.dataset.name == "signs"


def test_damaged_checkpoints_are_refused(copied, capsys):
    for file in (copied / "checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:-100])
    assert main([f"run={copied}"]) == 4
    assert "not a whole checkpoint" in capsys.readouterr().err


def test_a_run_without_a_finished_epoch_is_refused(copied, capsys):
    for file in (copied / "checkpoints").iterdir():
        file.unlink()
    assert main([f"run={copied}"]) == 4
    assert "no epoch of it was finished" in capsys.readouterr().err


def test_a_configuration_that_was_changed_by_hand_is_refused(copied, capsys):
    text = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(text.replace("negative_slope: 0", "negative_slope: 1"))
    assert main([f"run={copied}"]) == 4
    assert "backbone.negative_slope" in capsys.readouterr().err
    (copied / "config.yaml").write_text("ways: [")
    assert main([f"run={copied}"]) == 4
    assert "config.yaml: cannot be read" in capsys.readouterr().err


def test_an_unfinished_run_is_marked(copied, capsys):
    (copied / "checkpoints" / "epoch-0003.pt").unlink()
    assert main([f"run={copied}"]) == 0
    assert "† not trained to the end: 2 of 3 epochs" in capsys.readouterr().out


def test_a_regression_run_shows_its_course_and_its_curves(tmp_path):
    settings = [argument for argument in TINY if argument.startswith(("train", "eval"))]
    run = tmp_path / "run"
    assert maml_train(["algo=maml", "dataset=sinusoid", *settings, f"hydra.run.dir={run}"]) == 0
    assert main([f"run={run}", f"output={tmp_path / 'a'}", "eval.inner_steps=3"]) == 0
    again, trained = results_in(tmp_path / "a")["test"], results_in(run)["test"]
    assert again["mean"] == trained["mean"][:4]
    assert (tmp_path / "a" / "curves.png").is_file()


@pytest.mark.parametrize("command", ["evaluate", "adapt"])
def test_help_and_mistakes_answer_without_torch(command):
    code = (
        f"import sys; from maml_cli.commands.{command} import main\n"
        "assert main(['run=nowhere', 'support=a', 'query=b']) == 2\n"
        "try: main(['--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_help_names_every_argument(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("run=DIR", "split=test", "output=DIR", "eval.bn_stats"))


def test_the_settings_that_were_used_are_kept(test_again, tmp_path):
    test_again("eval.inner_steps=1")
    (output,) = tmp_path.iterdir()
    assert yaml.safe_load((output / "config.yaml").read_text())["eval"]["inner_steps"] == 1


def test_a_run_that_lacks_keys_of_later_versions_is_tested_as_before(run, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(run, old)
    lines = (old / "config.yaml").read_text().splitlines(keepends=True)
    later = ("  released_system: false", "  patience: null", "  activation: ")
    kept = [line for line in lines if not line.startswith(later)]
    assert len(kept) <= len(lines) - 2
    (old / "config.yaml").write_text("".join(kept))
    assert main([f"run={old}", f"output={tmp_path / 'again'}"]) == 0
    assert results_in(tmp_path / "again")["test"] == results_in(run)["test"]


def test_what_is_kept_of_every_query_agrees_with_the_results(test_again, tmp_path):
    results = test_again("eval.keep=[predictions,features,pca]")
    (output,) = tmp_path.iterdir()
    rows = list(csv.DictReader((output / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 6 * 3 * 2
    right = [row["class"] == row["predicted"] for row in rows]
    assert np.mean(right) == pytest.approx(results["test"]["mean"])
    nll = [-np.log(float(row[f"probability of {row['label']}"])) for row in rows]
    found = results["calibration"]["raw"]["scores"]["nll"]["mean"]
    assert np.mean(nll) == pytest.approx(found, rel=1e-3)
    with np.load(output / "features.npz") as features:
        assert features["after"].shape[:2] == features["label"].shape == (6, 6)
        assert not np.array_equal(features["before"], features["after"])
        names = features["class_names"][features["class"]].flatten().tolist()
    assert names == [row["class"] for row in rows]
    for name in ("classes.md", "confusion.csv", "confusion.png", "pca.png"):
        assert (output / name).is_file()


def test_what_cannot_be_kept_is_refused_in_words(run, tmp_path, capsys, monkeypatch):
    again = [f"run={run}", f"output={tmp_path / 'output'}"]
    monkeypatch.setattr("maml_cli.core.eval_settings.find_spec", lambda _: None)
    assert main([*again, "eval.keep=[tsne]"]) == 2
    assert 'pip install "maml-train[map]"' in capsys.readouterr().err
    assert main([*again, "eval.keep=[prediction]"]) == 2
    assert "each predictions, features, pca or tsne" in capsys.readouterr().err
    assert maml_train(["algo=maml", "dataset=sinusoid", "eval.keep=[features]"]) == 2
    assert "it is about classes, and dataset=sinusoid has none" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()
