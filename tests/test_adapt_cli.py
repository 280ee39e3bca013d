"""maml-adapt: somebody's own pictures told apart by a trained run."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maml_cli.commands.adapt import main
from maml_cli.commands.train import main as maml_train
from maml_cli.config.trained import trained_experiment
from maml_cli.core.algorithm import MetaParameters, nested
from maml_cli.core.types import Evaluation
from maml_cli.engines.choice import choose_engine, make_engine

WAYS, SHOTS, QUERIES = 3, 2, 4
TINY = [
    *("dataset=glyphs", "backbone.filters=4", f"ways={WAYS}", f"shots={SHOTS}"),
    *(f"queries={QUERIES}", "train.epochs=2", "train.iterations_per_epoch=2"),
    *("train.tasks_per_batch=2", "eval.val_episodes=2", "eval.test_episodes=2", "eval.ensemble=2"),
]
NAMES = ["a class", "b|$x^2$", "[red]ç"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the run of an algorithm, trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")

    def run(algo: str, *arguments: str) -> Path:
        output = folder / algo
        if not output.exists():
            words = [f"algo={algo}", *TINY, *arguments]
            assert maml_train([*words, f"hydra.run.dir={output}"]) == 0
        return output

    return run


@pytest.fixture(scope="module")
def run(trained):
    return trained("maml")


def its_source(run: Path):
    """The test episodes of the run's data set, as bytes and as the network sees them."""
    experiment = trained_experiment(run, [], changeable=[], others=[], command="")
    return experiment, experiment.dataset.load(experiment.run, CPU)


def save(path: Path, ink: torch.Tensor) -> None:
    """A picture of the data set as a user has it: dark on white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(255 - ink[0].numpy()).save(path)


@pytest.fixture
def mine(run, tmp_path):
    """The first test episode as files, in `support` and `query`."""
    _, source = its_source(run)
    raw = source.raw_episodes("test", 0, 1)
    for folder, images, labels in (
        ("support", raw.support_x[0], raw.support_y[0]),
        ("query", raw.query_x[0], raw.query_y[0]),
    ):
        for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            save(tmp_path / folder / f"{label} {NAMES[label]}" / f"{number:02d}.png", image)
    return tmp_path


def adapt(run: Path, mine: Path, *arguments: str) -> int:
    folders = (f"support={mine / 'support'}", f"query={mine / 'query'}")
    return main([f"run={run}", *folders, f"output={mine / 'out'}", *arguments])


def rows_in(folder: Path) -> list[list[str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def probabilities_in(folder: Path) -> np.ndarray:
    return np.array([row[-WAYS:] for row in rows_in(folder)[1:]], float)


def independent(run: Path, *, steps: int, bn_stats: str) -> np.ndarray:
    """Probabilities of the data set's own test episode, from the learner and checkpoints alone."""
    (outputs,) = samples(run, steps=steps, bn_stats=bn_stats)
    return torch.softmax(outputs, -1).numpy()


def samples(run: Path, *, steps: int, bn_stats: str) -> torch.Tensor:
    """The mean outputs of both checkpoints, `(samples, queries, ways)`."""
    experiment, source = its_source(run)
    network = experiment.backbone.build(source.input_shape)
    algorithm = experiment.algo.build(network, source, experiment.train)
    # as the run has it
    engine = make_engine(choose_engine("auto", CPU, convolutional=True), algorithm, CPU)
    outputs = []
    for file in sorted((run / "checkpoints").glob("epoch-*.pt")):  # both epochs vote
        content = torch.load(file, weights_only=True)
        params = MetaParameters(theta=nested(content["theta"]), state=nested(content["state"]))
        episode = source.episodes("test", 0, 1)
        outputs.append(engine.predict(params, episode, Evaluation((steps,), bn_stats))[0, 0])
    assert len(outputs) == 2
    return torch.stack(outputs).mean(0)


@pytest.mark.parametrize("bn_stats", ["batch", "support", "support_and_query"])
def test_the_data_sets_own_pictures_get_the_data_sets_predictions(run, mine, bn_stats):
    assert adapt(run, mine, f"eval.bn_stats={bn_stats}", "eval.inner_steps=3") == 0
    expected = independent(run, steps=3, bn_stats=bn_stats)
    assert np.abs(expected - 1 / WAYS).max() > 0.01  # the network has an opinion
    np.testing.assert_allclose(probabilities_in(mine / "out"), expected, atol=2e-6)


STEPS = {"mamlpp": 5, "reptile": 5, "finetune": 10, "nearest_neighbour": 0}
STEPS |= dict.fromkeys(["snail", "mann", "memory_module", "meta_networks", "in_context"], 0)


@pytest.mark.parametrize(("algo", "steps"), STEPS.items())
def test_every_kind_of_learner(trained, mine, algo, steps):
    arguments = [f"eval.inner_steps={steps}"] if steps else []
    run = trained(algo, *arguments)
    assert adapt(run, mine, *arguments) == 0
    expected = independent(run, steps=steps, bn_stats="support")
    np.testing.assert_allclose(probabilities_in(mine / "out"), expected, atol=5e-5)


def test_samples_have_their_spread(trained, mine, capsys):
    run = trained("bmaml", "algo.inner_steps=2")
    assert adapt(run, mine) == 0
    header, *rows = rows_in(mine / "out")
    assert header[2:5] == ["predicted", "probability", "spread"]
    spread = torch.softmax(samples(run, steps=2, bn_stats="support"), -1).std(0)
    predicted = probabilities_in(mine / "out").argmax(1)
    expected = spread[range(len(rows)), predicted].numpy()
    assert expected.min() > 0
    np.testing.assert_allclose([float(row[4]) for row in rows], expected, atol=5e-5)
    assert f"± {100 * expected[0]:.1f} %" in capsys.readouterr().out


def test_the_files_say_what_was_predicted(run, mine, capsys):
    assert adapt(run, mine) == 0
    header, *rows = rows_in(mine / "out")
    classes = [f"{label} {name}" for label, name in enumerate(NAMES)]
    each = [f"probability of {name}" for name in classes]
    assert header == ["picture", "class", "predicted", "probability", *each]
    assert len(rows) == WAYS * QUERIES
    right = 0
    for picture, true, predicted, probability, *probabilities in rows:
        assert picture.startswith(f"{true}/")
        assert sum(map(float, probabilities)) == pytest.approx(1, abs=1e-5)
        assert probability == max(probabilities, key=float)
        assert predicted == classes[probabilities.index(probability)]
        right += predicted == true
    table = (mine / "out" / "table.md").read_text(encoding="utf-8")
    score = f"{right} of 12 right ({100 * right / 12:.2f} %)"
    assert score in table
    assert "3 classes from 6 pictures; 5 inner steps" in table
    assert "b\\|$x^2$" in table  # a bar would end the cell
    assert table.splitlines()[-1].startswith("`maml-adapt run=")
    assert score in capsys.readouterr().out
    with Image.open(mine / "out" / "predictions.png") as figure:
        assert figure.width > 5 * 150


def test_each_rows_classes_are_sorted_by_probability(run, mine, capsys):
    assert adapt(run, mine) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if ".png" in line]
    for line in lines:
        shares = [float(word) for word in line.replace(",", " ").split() if _number(word)][-WAYS:]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(100, abs=0.2)


def _number(word: str) -> bool:
    return word.count(".") == 1 and word.replace(".", "").isdigit()


def test_pictures_without_a_class_are_told_apart_too(run, mine, capsys):
    pictures = sorted((mine / "query").rglob("*.png"))
    for picture in pictures:
        picture.rename(mine / "query" / picture.name)
    for folder in [path for path in (mine / "query").iterdir() if path.is_dir()]:
        folder.rmdir()
    assert adapt(run, mine) == 0
    expected = independent(run, steps=5, bn_stats="support")
    np.testing.assert_allclose(probabilities_in(mine / "out"), expected, atol=2e-6)
    assert rows_in(mine / "out")[0][:3] == ["picture", "predicted", "probability"]
    assert "right" not in capsys.readouterr().out


def test_classes_may_have_different_numbers_of_pictures(run, mine):
    """A picture that is there twice counts more within its class."""
    first = next((mine / "support").rglob("*.png"))
    shutil.copy(first, first.with_name("again.png"))
    assert adapt(run, mine) == 0
    assert "3 classes from 7 pictures" in (mine / "out" / "table.md").read_text()
    different = probabilities_in(mine / "out") - independent(run, steps=5, bn_stats="support")
    assert np.abs(different).max() > 1e-4


def test_more_pictures_of_a_class_are_answers_more(run, mine):
    """Two pictures of the first class, one of the others: the mean of the answers with either.

    Means of outputs are geometric means of probabilities, up to their sum.
    """
    labels = sorted((mine / "support").iterdir())
    for label in labels[1:]:
        for picture in sorted(label.iterdir())[1:]:
            picture.unlink()
    assert adapt(run, mine) == 0
    both = probabilities_in(mine / "out")
    said = (mine / "out" / "table.md").read_text(encoding="utf-8")
    assert "Classes have 1 to 2 pictures; each class has the same weight." in said
    assert "2 support sets with as many of each class" in said
    parts = [[picture] for picture in sorted(labels[0].iterdir())]
    np.testing.assert_allclose(both, answers_without(parts, run, mine), atol=1e-5)


def answers_without(parts: list[list[Path]], run: Path, mine: Path) -> np.ndarray:
    """The geometric mean of the probabilities without either part of the support set."""
    product = np.ones(())
    for part in parts:
        for picture in part:
            picture.rename(mine / picture.name)
        shutil.rmtree(mine / "out")
        assert adapt(run, mine) == 0
        product = product * probabilities_in(mine / "out")
        for picture in part:
            (mine / picture.name).rename(picture)
    expected = np.sqrt(product)
    return expected / expected.sum(1, keepdims=True)


def test_a_learner_of_sequences_reads_no_longer_ones_than_in_training(trained, mine):
    """Trained on 2 shots it is given 4 pictures of a class: they are read in two parts."""
    run = trained("mann")
    first = sorted((mine / "support").iterdir())[0]
    for picture in sorted(first.iterdir()):
        with Image.open(picture) as image:
            image.rotate(90).save(first / f"x{picture.name}")
    assert adapt(run, mine) == 0
    found = probabilities_in(mine / "out")
    said = (mine / "out" / "table.md").read_text(encoding="utf-8")
    assert "reads at most 2 pictures of a class at once; the 4 were read in 2 parts" in said
    pictures = sorted(first.iterdir())
    parts = [pictures[:2], pictures[2:]]
    np.testing.assert_allclose(found, answers_without(parts, run, mine), atol=1e-5)
    assert np.ptp(found, 0).max() > 1e-3


def test_other_kinds_of_files_are_taken_alike(run, mine):
    for picture in mine.rglob("*.png"):
        with Image.open(picture) as image:
            image.convert("RGBA").save(picture.with_suffix(".tiff"))
        picture.unlink()
    assert adapt(run, mine) == 0
    expected = independent(run, steps=5, bn_stats="support")
    np.testing.assert_allclose(probabilities_in(mine / "out"), expected, atol=2e-6)


def test_the_data_set_itself_is_not_needed(trained, mine):
    copy = mine / "elsewhere"
    shutil.copytree(trained("maml"), copy)
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(
        "\n".join(
            f"cache_dir: {mine / 'no such folder'}" if line.startswith("cache_dir:") else line
            for line in config.splitlines()
        )
    )
    assert adapt(copy, mine) == 0
    assert not (mine / "no such folder").exists()


def test_the_heads_without_a_fixed_number_of_classes_take_any(trained, mine):
    shutil.copytree(mine / "support" / f"0 {NAMES[0]}", mine / "support" / "another")
    assert adapt(trained("nearest_neighbour"), mine) == 0
    assert len(rows_in(mine / "out")[0]) == 4 + WAYS + 1


def test_classes_may_have_different_numbers_of_pictures_and_be_any_number(trained, mine):
    """A run of 3 ways, of 2 pictures each, is shown 2 classes, of one picture and of two."""
    names = sorted(folder.name for folder in (mine / "support").iterdir())
    shutil.rmtree(mine / "support" / names[0])
    shutil.rmtree(mine / "query" / names[0])
    next((mine / "support" / names[1]).iterdir()).unlink()
    arguments = ("backbone=conv4_protonet", "backbone.filters=4", "eval.bn_stats=running")
    assert adapt(trained("protonet", *arguments), mine) == 0
    found = np.array([row[-2:] for row in rows_in(mine / "out")[1:]], float)
    assert found.shape == (2 * QUERIES, 2)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    query = mine / "query" / names[1]
    for picture in sorted(query.iterdir())[1:]:
        picture.unlink()
    shutil.rmtree(mine / "query" / names[2])
    shutil.rmtree(mine / "out")
    assert adapt(trained("protonet"), mine) == 0
    (alone,) = rows_in(mine / "out")[1:]
    np.testing.assert_allclose(np.array(alone[-2:], float), found[0], atol=1e-5)


def test_a_number_of_classes_that_the_head_does_not_have(run, mine, capsys):
    shutil.rmtree(mine / "support" / f"0 {NAMES[0]}")
    shutil.rmtree(mine / "query" / f"0 {NAMES[0]}")
    assert adapt(run, mine) == 2
    err = capsys.readouterr().err
    assert "has 2 classes, but the run tells 3 apart, with an output for each: add 1" in err
    assert not (mine / "out").exists()


def test_an_adaptation_that_diverges_is_no_prediction(run, mine, monkeypatch, capsys):
    outputs = torch.full((1, 6, WAYS * QUERIES, WAYS), torch.nan)
    monkeypatch.setattr("maml_cli.algos.maml.GradientLearner.predict", lambda *_: outputs)
    assert adapt(run, mine, "eval.bn_stats=support") == 5
    err = capsys.readouterr().err
    assert "not finite after 5 inner steps with eval.bn_stats=support" in err
    assert not (mine / "out").exists()


def test_unreadable_pictures_are_named(run, mine, capsys):
    broken = next((mine / "query").rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:60])
    assert adapt(run, mine) == 3
    assert broken.name in capsys.readouterr().err
    assert not (mine / "out").exists()


def test_what_is_wrong_with_the_folders_is_said_at_once(run, tmp_path, capsys):
    ink = torch.zeros(1, 28, 28, dtype=torch.uint8)
    save(tmp_path / "support" / "one.png", ink)
    save(tmp_path / "query" / "x" / "one.png", ink)
    save(tmp_path / "query" / "two.png", ink)
    assert adapt(run, tmp_path) == 3
    err = capsys.readouterr().err
    assert "no folder in it holds pictures; it needs CLASS/IMAGE" in err
    assert "1 pictures lie in folders of classes and 1 do not" in err


def test_query_classes_that_support_lacks(run, mine, capsys):
    shutil.copytree(mine / "query" / f"0 {NAMES[0]}", mine / "query" / "stranger")
    assert adapt(run, mine) == 3
    assert "stranger: no class of support" in capsys.readouterr().err


def test_folders_that_are_not_there_or_empty(run, tmp_path, capsys):
    (tmp_path / "query").mkdir()
    assert adapt(run, tmp_path) == 3
    err = capsys.readouterr().err
    assert f"support={tmp_path / 'support'}: no such folder" in err
    assert f"query={tmp_path / 'query'}: no picture is in it" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ways=3"], "ways=3: the run decides it; free are eval.inner_steps"),
        (["suport=x"], "suport: no such key; did you mean support?"),
        (["eval.inner_steps=many"], "eval.inner_steps=many: must be a whole number"),
    ],
)
def test_arguments_that_cannot_be(run, mine, arguments, message, capsys):
    assert adapt(run, mine, *arguments) == 2
    assert message in capsys.readouterr().err


def test_every_folder_is_asked_for(run, capsys):
    assert main([]) == 2
    assert "run=DIR is missing" in capsys.readouterr().err
    assert main([f"run={run}"]) == 2
    err = capsys.readouterr().err
    assert all(f"{key}=DIR is missing" in err for key in ("support", "query"))


def test_by_default_the_result_goes_below_the_run_and_changes_nothing_of_it(run, mine):
    before = json.loads((run / "results.json").read_text())
    folders = (f"support={mine / 'support'}", f"query={mine / 'query'}")
    for times in (1, 2):
        assert main([f"run={run}", *folders]) == 0
        assert len(list((run / "adapt").iterdir())) == times
    assert json.loads((run / "results.json").read_text()) == before


def test_the_help_names_every_argument(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("run=DIR", "support=DIR", "query=DIR", "output=DIR"))
