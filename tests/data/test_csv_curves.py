"""dataset=curves: points from a CSV file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from point_files import write_fields, write_lines, write_waves
from problems import RUN

import maml_cli
from maml_cli.commands.data import main as maml_data
from maml_cli.commands.evaluate import main as maml_eval
from maml_cli.commands.train import main as maml_train
from maml_cli.config.trained import trained_experiment
from maml_cli.core.algorithm import MetaParameters, nested
from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Evaluation
from maml_cli.data.csv_curves import CsvCurves
from maml_cli.data.csv_table import read_table
from maml_cli.data.point_tasks import PointTasks
from maml_cli.data.sampler import SPLITS
from maml_cli.runs.assembly import assemble

CPU = torch.device("cpu")
TINY = [
    *("dataset=curves", "shots=3", "queries=2", "train.epochs=1", "train.iterations_per_epoch=2"),
    *("train.tasks_per_batch=2", "eval.val_episodes=2", "eval.test_episodes=4"),
    "backbone.hidden=[8]",
]


def settings(path: Path, **changed: object) -> CsvCurves:
    values = {"name": "curves", "path": str(path), "keys": None, "inputs": None, "outputs": None}
    values |= {"split": None, "standardise": True, "val_fraction": 0.2, "test_fraction": 0.2}
    return CsvCurves(**{**values, "split_seed": 0, **changed})  # type: ignore[arg-type]


def run_settings(shots: int = 3, queries: int = 2, seed: int = 0) -> RunSettings:
    return replace(RUN, ways=1, shots=shots, queries=queries, seed=seed)


def loaded(path: Path, run: RunSettings | None = None, **changed: object) -> PointTasks:
    return settings(path, **changed).load(run or run_settings(), CPU)


def table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels and numbers of a file of waves, by another reader."""
    cells = np.genfromtxt(path, delimiter=",", skip_header=1, dtype=str)
    return cells[:, 0], cells[:, 1:].astype(float)


def test_an_episode_is_one_task_of_its_split_standardised_by_training(tmp_path):
    path = write_waves(tmp_path / "waves.csv")
    labels, numbers = table(path)
    source = loaded(path)
    members = {split: set(found) for split, found in source.record.splits.items()}
    assert [len(members[split]) for split in SPLITS] == [6, 2, 2]
    assert set().union(*members.values()) == set(labels)
    training = numbers[np.isin(labels, list(members["train"]))]
    expected = (numbers - training.mean(0)) / training.std(0)
    for split in SPLITS:
        batch, alone = source.episodes(split, 3, 4), source.episodes(split, 5, 1)
        assert all(torch.equal(many[2], one[0]) for many, one in zip(batch, alone, strict=True))
        shapes = [tuple(field.shape) for field in alone[:4]]
        assert shapes == [(1, 3, 1), (1, 3, 1), (1, 2, 1), (1, 2, 1)]
        x, y = (torch.cat(pair, 1)[0, :, 0] for pair in (alone[0:4:2], alone[1:4:2]))
        gaps = np.abs(expected[:, None] - torch.stack([x, y], 1).numpy()).max(-1)
        rows = gaps.argmin(0)
        assert gaps.min(0).max() < 1e-6
        assert len(set(rows)) == 5
        (label,) = set(labels[rows])
        assert label in members[split]


def test_every_task_and_every_point_is_drawn_and_the_seed_does_not_change_the_split(tmp_path):
    path = write_waves(tmp_path / "waves.csv")
    source, other = loaded(path), loaded(path, run_settings(seed=1))
    assert source.record == other.record
    assert not torch.equal(source.episodes("test", 0, 1)[0], other.episodes("test", 0, 1)[0])
    drawn = source.episodes("train", 0, 400)
    x = torch.cat([drawn.support_x, drawn.query_x], 1)
    assert len(set(x.flatten().tolist())) == 6 * 8
    assert loaded(path, split_seed=1).record.splits != source.record.splits


def test_the_order_of_rows_changes_nothing(tmp_path):
    path = write_waves(tmp_path / "waves.csv")
    header, *rows = path.read_text().splitlines()
    turned = write_lines(tmp_path / "turned.csv", header, *reversed(rows))
    one, two = loaded(path), loaded(turned)
    assert one.record == two.record
    assert all(map(torch.equal, one.episodes("val", 0, 3), two.episodes("val", 0, 3)))


def test_numbers_stay_as_they_are_if_asked(tmp_path):
    path = write_waves(tmp_path / "waves.csv")
    source = loaded(path, standardise=False)
    _, numbers = table(path)
    x = source.episodes("train", 0, 50).support_x.flatten().numpy()
    assert set(x.tolist()) <= set(numbers[:, 0].astype(np.float32).tolist())
    assert not any("standardised" in remark for remark in source.remarks)


def test_several_keys_inputs_and_outputs(tmp_path):
    path = write_fields(tmp_path / "fields.csv")
    source = loaded(path, keys=["site", "year"], outputs=["flow", "heat"])
    assert (source.input_shape, source.output_size) == ((2,), 2)
    labels = [label for found in source.record.splits.values() for label in found]
    assert sorted(labels)[:4] == ["0,1990", "0,1991", "0,1992", "1,1990"]
    episode = source.episodes("test", 0, 5)
    assert episode.support_x.shape == (5, 3, 2)
    assert episode.query_y.shape == (5, 2, 2)
    assert source.curve_episodes(1) is None
    assert "inputs: t, depth; outputs: flow, heat" in source.remarks[0]


@pytest.mark.parametrize(
    ("header", "told", "roles"),
    [
        ("task,x,y", {}, "same task are a task; inputs: x; outputs: y"),
        ("y,a,task,b", {}, "same task are a task; inputs: a, b; outputs: y"),
        ("who,when,what", {}, "same who are a task; inputs: when; outputs: what"),
        ("who,a,b,c", {"outputs": ["b"]}, "same who are a task; inputs: a, c; outputs: b"),
        ("a,b,c,d", {"keys": ["c"], "inputs": ["a"]}, "same c are a task; inputs: a; outputs: d"),
    ],
)
def test_what_is_not_told_is_guessed_and_said(header, told, roles, tmp_path):
    rows = [",".join(str(7 * task + i + c) for c in range(4)[: header.count(",") + 1])
            for task in range(5) for i in range(5)]  # fmt: skip
    keyed = header.split(",").index(roles.split()[1])
    table = [row.split(",") for row in rows]
    for number, row in enumerate(table):
        row[keyed] = f"t{number // 5}"
    path = write_lines(tmp_path / "f.csv", header, *map(",".join, table))
    assert roles in loaded(path, **told).remarks[0]


def test_a_column_splits_the_tasks(tmp_path):
    rows = [
        f"{task},{i},{i * task},{split}"
        for task, split in enumerate(("test", "train", "val", "train"))
        for i in range(5)
    ]
    path = write_lines(tmp_path / "f.csv", "task,x,y,split", *rows)
    record = loaded(path).record
    assert {s: set(found) for s, found in record.splits.items()} == {
        "train": {"1", "3"},
        "val": {"2"},
        "test": {"0"},
    }
    wrong = write_lines(
        tmp_path / "g.csv", "task,x,y,split", *rows, "0,1,1,train", "9,1,1,all", "9,2,2,all"
    )
    with pytest.raises(DataError) as raised:
        loaded(wrong)
    assert raised.value.messages[:2] == (
        "line 22: 0 is in train, but in test in line 2; a task must be in one split",
        "line 23: split is 'all', in 2 rows; it must be train, val or test",
    )


def test_all_bad_rows_are_named_at_once_by_line(tmp_path):
    path = write_lines(
        tmp_path / "bad.csv",
        "task,x,y",
        "a,1,2",
        "a,one,2",
        "",
        'a,"2,5",nan',
        "b,3",
        ",4,5",
        "c,inf,",
    )
    with pytest.raises(DataError) as raised:
        loaded(path)
    *messages, advice = raised.value.messages
    assert messages == [
        "line 3: x is 'one', which is not a number",
        "line 5: x is '2,5', which is not a number; write a point, not a comma",
        "line 5: y is nan; it must be finite",
        "line 6: has 2 cells; line 1 names 3",
        "line 7: task is empty",
        "line 8: x is inf; it must be finite",
        "line 8: y is empty",
    ]
    assert "correct these rows" in advice


@pytest.mark.parametrize(
    ("text", "told", "message"),
    [
        ("", {}, "is empty"),
        ("1,2,3\n4,5,6\n", {}, "line 1 has numbers"),
        ("task,x,x\n", {}, "2 columns are called x"),
        ("task,,y\n", {}, "column 2 has no name"),
        ("task,x,y\n", {}, "no rows"),
        ("task,y\na,1\n", {}, "a key, an input and an output are needed"),
        ("task,x,y\n", {"inputs": ["z"]}, "there is no column z; the first line names task, x, y"),
        ("task,x,y\n", {"inputs": ["y"], "outputs": ["y"]}, "y cannot be two things at once"),
    ],
)
def test_a_header_that_cannot_be_is_refused(text, told, message, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        loaded(path, **told)


def test_too_few_points_and_too_few_tasks_are_said_together(tmp_path):
    rows = [f"{task},{i},{i}" for task in "ab" for i in range(4 if task == "a" else 9)]
    path = write_lines(tmp_path / "f.csv", "task,x,y", *rows)
    with pytest.raises(UsageError) as raised:
        loaded(path)
    said = "\n".join(raised.value.messages)
    assert "no task of 2 is in val" in said
    assert "1 of 2 tasks have fewer points than the 5 that an episode needs" in said
    assert "a has 4 (line 2)" in said


def test_what_is_no_csv_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        loaded(tmp_path / "none.csv")
    (tmp_path / "f.csv").write_bytes(b"task,x,y\n\xff\xfe\n")
    with pytest.raises(DataError, match="not UTF-8"):
        loaded(tmp_path / "f.csv")


@pytest.mark.parametrize("algo", ["maml", "in_context", "cavia", "bmaml"])
def test_learners_of_curves_take_two_inputs_and_two_outputs(algo, tmp_path):
    path = write_fields(tmp_path / "fields.csv")
    columns = ["dataset.keys=[site,year]", "dataset.outputs=[flow,heat]"]
    words = [f"algo={algo}", *TINY, f"dataset.path={path}", *columns]
    assert maml_train([*words, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["test"]["mean"][-1] < 100
    assert any("standardised by the points of training" in r for r in results["remarks"])
    assert not (tmp_path / "run/curves.png").exists()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run on waves of the current folder, whose file grows afterwards."""
    monkeypatch.chdir(tmp_path)
    write_waves(tmp_path / "waves.csv")
    words = ["algo=maml", *TINY, "dataset.path=waves.csv", "hydra.run.dir=run"]
    assert maml_train(words) == 0
    assert Path("run/curves.png").is_file()
    return tmp_path


def again(*arguments: str, code: int = 0) -> dict:
    output = Path(f"again{len(list(Path().iterdir()))}")
    assert maml_eval(["run=run", f"output={output}", *arguments]) == code
    return json.loads((output / "results.json").read_text()) if code == 0 else {}


def test_a_run_keeps_its_tasks_and_its_scale(run, capsys):
    before = json.loads(Path("run/test_scores.json").read_text())
    lines = Path("waves.csv").read_text().splitlines()
    more = write_waves(run / "more.csv", tasks=3, first=50).read_text().splitlines()[1:]
    write_lines(run / "waves.csv", *lines, *more)
    results = again()
    assert "left out: 3 tasks that the run's own split does not have" in str(results["remarks"])
    assert json.loads(next(Path().glob("again*/test_scores.json")).read_text()) == before
    assert "tested on 3 tasks" in str(again("split=new")["remarks"])
    again("dataset.path=more.csv")

    again("dataset.standardise=false", code=2)
    assert "dataset.standardise=false: the run decides it" in capsys.readouterr().err

    trained = list(json.loads(Path("run/data.json").read_text())["splits"]["train"])
    renamed = [line.replace(trained[0], "new", 1) for line in lines]
    write_lines(run / "renamed.csv", *[line for line in renamed if line[:4] in ("task", "new,")])
    again("dataset.path=renamed.csv", code=3)
    assert f"new (there {trained[0]})" in capsys.readouterr().err

    moved = [line.replace(",1", ",2", 1) if line.startswith("t0") else line for line in lines]
    write_lines(run / "waves.csv", *moved)
    Path("run/results.json").unlink()
    Path("run/table.md").unlink()
    with pytest.raises(SystemExit) as ended:
        maml_train(["algo=maml", *TINY, "dataset.path=waves.csv", "hydra.run.dir=run"])
    assert ended.value.code == 3
    assert "tasks of train with other points" in capsys.readouterr().err


@pytest.mark.usefixtures("run")
def test_in_python_a_run_takes_and_gives_the_units_of_its_file():
    source = loaded(Path("waves.csv"))
    episode = source.episodes("test", 0, 1)
    columns = json.loads(Path("run/data.json").read_text())["columns"]
    ((_, x_mean, x_std, *_),), ((_, y_mean, y_std, *_),) = columns["inputs"], columns["outputs"]
    Path("waves.csv").unlink()
    x, query = (field[0].double() * x_std + x_mean for field in episode[0:4:2])
    y = episode.support_y[0].double() * y_std + y_mean
    trained = maml_cli.load("run")
    found = trained.adapt(x, y).predict(query)
    experiment = trained_experiment(Path("run"), [], changeable=[], others=[], command="")
    parts = assemble(experiment, source, CPU)
    checkpoint = torch.load("run/checkpoints/epoch-0001.pt", weights_only=True)
    params = MetaParameters(theta=nested(checkpoint["theta"]), state=nested(checkpoint["state"]))
    expected = parts.engine.predict(params, episode, Evaluation((parts.steps,), "batch"))[0, 0, 0]
    torch.testing.assert_close(
        found.double(), expected.double() * y_std + y_mean, atol=1e-3, rtol=0
    )
    assert (found - 1000).abs().max() < 500  # in the units of the file
    with pytest.raises(UsageError, match="have 2 and 1 numbers for each point"):
        trained.adapt(x.expand(-1, 2), y)


def test_maml_data_says_what_is_there(tmp_path, capsys):
    path = write_waves(tmp_path / "waves.csv")
    few = ["dataset=curves", f"dataset.path={path}", "shots=3", "queries=2"]
    assert maml_data(few) == 0
    said = capsys.readouterr().out
    assert "points per task" in said
    assert "rows with the same task are a task; inputs: x; outputs: y" in said
    assert maml_data([*few, "shots=20"]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "\n\na;b, in s;c\n1;2;3\n4;5;6\n",  # blank lines, and commas in a name
        "a\tb, in s\tc\n1\t2,5\t3\n",
        'a,"b, in s",c\n1,2,3\n',
    ],
)
def test_the_delimiter_is_that_of_the_rows(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    table = read_table("path", tmp_path / "t.csv", [])
    assert table.header == ("a", "b, in s", "c")
    assert [len(row) for row in table.rows] == [3] * len(table.rows)


@pytest.mark.parametrize("depth", [0, 5])
def test_a_constant_input_tells_nothing(tmp_path, depth):
    path = write_waves(tmp_path / "waves.csv")
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([f"depth,{header}", *(f"{depth},{line}" for line in lines)]))
    said = loaded(path, keys=["task"], inputs=["depth", "x"]).remarks
    assert any(f"depth (always {depth}, which tells networks nothing), x (mean" in s for s in said)
