"""maml-adapt: a curve with bands from somebody's own points."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from point_files import write_fields, write_lines, write_waves
from scipy.optimize import brentq
from scipy.stats import norm

from maml_cli.commands.adapt import main
from maml_cli.commands.train import main as maml_train
from maml_cli.config.trained import trained_experiment
from maml_cli.core.algorithm import MetaParameters, nested
from maml_cli.core.types import Evaluation
from maml_cli.reporting.fits import Fit, csv_text, markdown, score
from maml_cli.reporting.fits_figure import fit_figure
from maml_cli.runs.assembly import assemble
from maml_cli.runs.evaluation import bands

CPU = torch.device("cpu")
TINY = [
    *("shots=3", "queries=4", "train.epochs=1", "train.iterations_per_epoch=2"),
    *("train.tasks_per_batch=2", "eval.val_episodes=2", "eval.test_episodes=2"),
    "eval.inner_steps=2",
    *("backbone.hidden=[8]", "engine=loop"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a tiny run, trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name: str, *arguments: str) -> Path:
        if not (folder / name).exists():
            assert maml_train([*arguments, *TINY, f"hydra.run.dir={folder / name}"]) == 0
        return folder / name

    return run


@pytest.fixture(scope="module")
def run(trained):
    return trained("maml", "algo=maml", "algo.inner_steps=2", "dataset=sinusoid")


@pytest.fixture(scope="module")
def fields(trained, tmp_path_factory):
    """A run on two inputs and two outputs, standardised."""
    path = write_fields(tmp_path_factory.mktemp("fields") / "fields.csv")
    words = ["dataset=curves", f"dataset.path={path}", "dataset.keys=[site,year]"]
    return trained("fields", "algo=maml", *words, "dataset.outputs=[flow,heat]")


def adapt(run: Path, place: Path, *arguments: str, support: str, query: str | None = None) -> int:
    """Run the command on files with these lines, separated by spaces."""
    words = [f"support={write_lines(place / 'support.csv', *support.split())}"]
    if query is not None:
        words.append(f"query={write_lines(place / 'query.csv', *query.split())}")
    return main([f"run={run}", *words, f"output={place / 'out'}", *arguments])


def columns_in(folder: Path) -> dict[str, np.ndarray]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, np.array(rows, float).T, strict=True))


def text_of(x: np.ndarray, y: np.ndarray, names: str) -> str:
    """Points as the lines of a file."""
    rows = np.concatenate([x, y], 1)
    return " ".join([names, *(",".join(f"{v:.9g}" for v in row) for row in rows)])


def independent(run: Path, steps: int) -> tuple[object, torch.Tensor]:
    """The first test episode, and its outputs by the engine and the checkpoint alone."""
    experiment = trained_experiment(run, [], changeable=[], others=[], command="")
    source = experiment.dataset.load(experiment.run, CPU)
    (file,) = (run / "checkpoints").glob("epoch-*.pt")
    content = torch.load(file, weights_only=True)
    params = MetaParameters(theta=nested(content["theta"]), state=nested(content["state"]))
    episode = source.episodes("test", 0, 1)
    engine = assemble(experiment, source, CPU).engine
    return episode, engine.predict(params, episode, Evaluation((steps,), "batch"))[0, 0]


def quantile(means: np.ndarray, deviation: float, level: float) -> float:
    """Of an even mixture of normal distributions, by a root of its distribution function."""
    return brentq(lambda y: norm.cdf((y - means) / deviation).mean() - level, -1e3, 1e3)


@pytest.mark.parametrize("algo", ["maml", "bmaml", "platipus"])
def test_the_data_sets_own_points_get_the_data_sets_predictions(trained, tmp_path, algo, capsys):
    run = trained(algo, f"algo={algo}", "algo.inner_steps=2", "dataset=sinusoid")
    episode, samples = independent(run, steps=2)
    assert (
        adapt(
            run,
            tmp_path,
            support=text_of(episode.support_x[0], episode.support_y[0], "x,y"),
            query=text_of(episode.query_x[0], episode.query_y[0], "x,y"),
        )
        == 0
    )
    found = columns_in(tmp_path / "out")
    samples = samples[..., 0].double().numpy()
    np.testing.assert_allclose(found["x"], episode.query_x[0, :, 0], rtol=1e-6)
    np.testing.assert_allclose(found["y mean"], samples.mean(0), atol=2e-5)
    calibration = json.loads((run / "results.json").read_text())["calibration"]
    deviation = calibration["value"] ** 0.5
    for name, level in (("90 % low", 0.05), ("50 % low", 0.25), ("50 % high", 0.75)):
        expected = [quantile(means, deviation, level) for means in samples.T]
        np.testing.assert_allclose(found[f"y {name}"], expected, atol=5e-5)
    said = capsys.readouterr().out
    if len(samples) == 1:
        assert "y spread" not in found
        np.testing.assert_allclose(
            found["y 90 % high"] - found["y 90 % low"], 2 * 1.6448536 * deviation, rtol=1e-5
        )
    else:
        np.testing.assert_allclose(found["y spread"], samples.std(0, ddof=1), atol=2e-5)
        assert f"means of {len(samples)} samples" in said
    truth = episode.query_y[0, :, 0].numpy()
    error = np.sqrt(np.square(samples.mean(0) - truth).mean())
    assert f"y: root mean squared error {error:.4g}; in the 90 % band" in said
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.width > 400


def test_without_a_query_there_is_an_even_grid_over_the_trained_range(run, tmp_path, capsys):
    assert adapt(run, tmp_path, support="x,y -1,0.5 0,1 2,0") == 0
    found = columns_in(tmp_path / "out")
    np.testing.assert_allclose(found["x"], np.linspace(-5, 5, 101), atol=1e-9)
    assert "y" not in found
    table = (tmp_path / "out" / "table.md").read_text()
    assert "an even grid over the trained range, x from -5 to 5" in table
    assert "The table has 21 of 101 points, the CSV all." in table
    assert sum(line.startswith("| ") for line in table.splitlines()) == 22
    assert table.splitlines()[-1].startswith("`maml-adapt run=")
    assert "y mean" in capsys.readouterr().out


def test_several_inputs_and_outputs_in_the_units_of_the_file(fields, tmp_path, capsys):
    """Columns are found by name, in any order; a shift of the outputs shifts nothing else."""
    text = "heat,flow,t,depth,note 0.2,0.1,0,0,1 0.1,0.4,0.5,-0.5,1 -0.3,-0.2,-0.8,0.1,1"
    assert adapt(fields, tmp_path, support=text, query="depth,t 0.5,0.25 0,0") == 0
    found = columns_in(tmp_path / "out")
    ends = ("mean", "90 % low", "50 % low", "50 % high", "90 % high")
    assert list(found) == ["t", "depth", *(f"{o} {e}" for o in ("flow", "heat") for e in ends)]
    assert found["t"].tolist() == [0.25, 0]
    record = json.loads((fields / "data.json").read_text())["columns"]
    value = json.loads((fields / "results.json").read_text())["calibration"]["value"]
    for _, (name, _, scale, *_) in zip(range(2), record["outputs"], strict=True):
        width = found[f"{name} 90 % high"] - found[f"{name} 90 % low"]
        np.testing.assert_allclose(width, 2 * 1.6448536 * value**0.5 * scale, rtol=1e-5)
        assert f"{value**0.5 * scale:.4g} for {name}" in capsys.readouterr().out or name == "heat"
    assert not (tmp_path / "out" / "curves.png").exists()
    table = (tmp_path / "out" / "table.md").read_text()
    assert "No picture: a curve has one input, this run has 2." in table
    assert "Columns of support that were not used: note." in table


def test_it_answers_as_in_python(fields, tmp_path):
    import maml_cli

    text = "t,depth,flow,heat 0,0,0.1,0.2 0.5,-0.5,0.4,0.1"
    assert adapt(fields, tmp_path, support=text, query="t,depth 0.25,0.5") == 0
    found = columns_in(tmp_path / "out")
    numbers = torch.tensor([[0, 0, 0.1, 0.2], [0.5, -0.5, 0.4, 0.1]], dtype=torch.float64)
    model = maml_cli.load(fields).adapt(numbers[:, :2], numbers[:, 2:])
    expected = model.predict(torch.tensor([[0.25, 0.5]], dtype=torch.float64))[0].tolist()
    assert [found["flow mean"][0], found["heat mean"][0]] == pytest.approx(expected, rel=1e-5)


def test_two_inputs_have_a_grid_of_at_most_a_thousand_points(fields, tmp_path):
    assert adapt(fields, tmp_path, support="t,depth,flow,heat 0,0,1,1") == 0
    found = columns_in(tmp_path / "out")
    assert len(found["t"]) == 31**2
    record = json.loads((fields / "data.json").read_text())["columns"]["inputs"]
    assert [found["t"].min(), found["t"].max()] == pytest.approx(record[0][3:5])


def test_the_file_of_the_training_is_not_needed(trained, tmp_path):
    path = write_waves(tmp_path / "waves.csv")
    run = trained("waves", "algo=maml", "dataset=curves", f"dataset.path={path}")
    path.unlink()
    assert adapt(run, tmp_path, support="x,y 110,1010 120,990 150,1000") == 0
    assert columns_in(tmp_path / "out")["y mean"].mean() == pytest.approx(1000, abs=60)


def test_points_outside_of_the_trained_range_are_told(run, tmp_path, capsys):
    assert adapt(run, tmp_path, support="x,y -7,0 0,1 6,0", query="x -5 5.5") == 0
    out = capsys.readouterr().out
    said = "2 of 3 points of support lie outside of the trained range of x, -5 to 5: they reach"
    assert f"{said} from -7 to 6" in out
    assert "1 of 2 points of query lie outside" in out


def test_how_the_noise_was_fitted_is_told_where_it_differs(run, tmp_path, capsys):
    assert adapt(run, tmp_path, "eval.inner_steps=1", support="x,y 1,1", query="x 0") == 0
    out = capsys.readouterr().out
    assert "1 support point; 1 inner step; the mean of 1 epoch; bands: normal noise" in out
    said = "tasks with 3 support points (here 1) and 2 inner steps (here 1): the bands may be"
    assert said in out


def test_a_run_without_fitted_noise_has_no_bands(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "results.json").unlink()
    assert adapt(copy, tmp_path, support="x,y 1,1", query="x 0") == 0
    assert list(columns_in(tmp_path / "out")) == ["x", "y mean"]
    assert "No bands: the run has no fitted noise" in capsys.readouterr().out
    (copy / "results.json").write_text("{")
    assert adapt(copy, tmp_path, support="x,y 1,1") == 4
    assert "results.json: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("support", "query", "said"),
    [
        ("x,z 1,2", None, "support.csv: has no column y; the first line names x, z, and the run"),
        ("x,y 1,two", None, "support.csv: line 2: y is 'two', which is not a number"),
        ("x,y 1,nan 1,inf", None, "line 3: y is inf; it must be finite"),
        ("x,y 1,", None, "line 2: y is empty"),
        ("x,y", None, "support.csv: has no rows below its first line"),
        ("", None, "must name each column once"),
        ("1,2 3,4", None, "line 1 has numbers"),
        ("x,y 1,1", "t 1", "query.csv: has no column x; the first line names t"),
        ("x,y 1,1", "x,y 1,", "query.csv: line 2: y is empty"),
    ],
)
def test_what_is_wrong_with_the_files_is_told(run, tmp_path, support, query, said, capsys):
    assert adapt(run, tmp_path, support=support, query=query) == 3
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_both_files_are_judged_at_once(run, tmp_path, capsys):
    missing = tmp_path / "none.csv"
    words = [f"support={write_lines(tmp_path / 'a.csv', 'x', '1')}", f"query={missing}"]
    assert main([f"run={run}", *words]) == 3
    err = capsys.readouterr().err
    assert "a.csv: has no column y" in err
    assert f"query={missing}: No such file or directory: name a CSV file" in err
    assert main([f"run={run}"]) == 2
    assert "support=FILE.csv is missing" in capsys.readouterr().err


def test_an_oracles_parameters_have_no_range(trained, tmp_path, capsys):
    run = trained("oracle", "algo=oracle", "dataset=sinusoid")
    names = "x,parameter 1,parameter 2,y"
    path = write_lines(tmp_path / "support.csv", names, "0,1,0.5,0.3")
    assert main([f"run={run}", f"support={path}", f"output={tmp_path / 'out'}"]) == 3
    assert "the run knows no range of parameter 1, parameter 2" in capsys.readouterr().err


def made(**changed: object) -> Fit:
    """Two points, one output, three samples."""
    values = {"inputs": ["=x"], "outputs": ["y"], "x": np.array([[0.0], [1.0]])}
    values |= {"mean": np.array([[1.0], [2.0]]), "truth": np.array([[1.5], [7.0]])}
    values |= {"samples": np.array([[[0.0], [2.0]], [[1.0], [2.0]], [[2.0], [2.0]]])}
    ends = np.array([-1, 0, 2, 3])[:, None, None] + np.array([[0.0], [1.0]])
    return Fit(**{**values, "bands": ends, **changed})  # type: ignore[arg-type]


def test_a_row_has_inputs_truth_mean_spread_and_ends():
    """The spread of 0, 1, 2 is 1; errors of 0.5 and 5 are sqrt(25.25 / 2) = 3.553 together."""
    header, first, second = csv_text(made()).splitlines()
    assert header == "'=x,y,y mean,y spread,y 90 % low,y 50 % low,y 50 % high,y 90 % high"
    assert first == "0,1.5,1,1,-1,0,2,3"
    assert second == "1,7,2,0,0,1,3,4"
    assert score(made()) == [
        "y: root mean squared error 3.553; in the 90 % band 1 of 2, in the 50 % band 1 of 2."
    ]
    cells = [cell.strip() for cell in markdown(made()).splitlines()[2].split("|")]
    assert cells[1:-1] == ["0", "1.5", "1", "± 1", "0 to 2", "-1 to 3"]


def test_the_figure_has_a_panel_per_output_and_marks_the_trained_range():
    curve = made(x=np.array([[-2.0], [2.0]]), truth=None)
    support = np.array([[0.5]]), np.array([[1.0]])
    figure = fit_figure(curve, support=support, queries=support, trained=(-1.0, 3.0))
    assert isinstance(figure, Figure)
    (panel,) = figure.axes
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:4] == ["90 % band", "50 % band", "3 of 3 samples", "mean"]
    assert set(labels[4:]) == {"queries", "support", "trained range"}
    marked = [line.get_xdata() for line in panel.lines if line.get_label() == "trained range"]
    assert marked == [[-1.0, -1.0]]  # the other end is not in the picture


def test_bands_keep_the_dimension_of_outputs():
    samples = torch.tensor([[[[0.0, 10.0]]]])
    found = bands(samples, 4.0)
    assert found.shape == (4, 1, 1, 2)
    np.testing.assert_allclose(found[3, 0, 0], [2 * 1.6448536, 10 + 2 * 1.6448536], rtol=1e-6)
