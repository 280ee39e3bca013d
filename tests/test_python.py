"""`maml_cli.train` and `maml_cli.load`: the commands as functions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import maml_cli
from maml_cli.commands.adapt import main as maml_adapt
from maml_cli.commands.train import main as maml_train
from maml_cli.core.errors import DataError, UsageError, UserError

TINY = ("train.epochs=1", "train.iterations_per_epoch=2", "train.tasks_per_batch=1")
FEW = (*TINY, "eval.val_episodes=2", "eval.test_episodes=2", "eval.ensemble=1")
PICTURES = ("dataset=glyphs", "backbone.filters=4", "ways=3")


def trained(folder: Path, *arguments: str) -> Path:
    assert maml_train([*arguments, *FEW, f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("python") / "run", "algo=mamlpp", *PICTURES)


@pytest.fixture(scope="module")
def task():
    """Three classes with 1, 2 and 1 examples, unsorted; and queries."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(8, 1, 28, 28, generator=generator)
    return x[:4], torch.tensor([1, 0, 2, 1]), x[4:]


def test_a_model_judges_each_query_by_itself(run, task):
    support_x, support_y, query_x = task
    model = maml_cli.load(run).adapt(support_x, support_y)
    together = model.predict(query_x)
    assert together.shape == (4, 3)
    torch.testing.assert_close(together.sum(1), torch.ones(4))
    alone = torch.cat([model.predict(x.unsqueeze(0)) for x in query_x])
    torch.testing.assert_close(alone, together)


def test_the_order_of_the_support_set_is_free(run, task):
    support_x, support_y, query_x = task
    order = torch.tensor([2, 3, 1, 0])
    model = maml_cli.load(run)
    one = model.adapt(support_x, support_y).predict(query_x)
    other = model.adapt(support_x[order], support_y[order]).predict(query_x)
    torch.testing.assert_close(one, other)


def test_a_module_holds_all_it_needs(run, task, tmp_path):
    support_x, support_y, query_x = task
    module = maml_cli.load(run).adapt(support_x, support_y).to_module()
    assert isinstance(module, nn.Module)
    with torch.inference_mode(False), torch.no_grad():
        outputs = module(query_x)
    assert not outputs.requires_grad
    torch.save(module.state_dict(), tmp_path / "module.pt")
    other = maml_cli.load(run).adapt(support_x.flip(0), support_y).to_module()
    assert not torch.equal(other(query_x), outputs)
    other.load_state_dict(torch.load(tmp_path / "module.pt", weights_only=True))
    assert torch.equal(other(query_x), outputs)


def test_it_predicts_as_maml_adapt_does(run, tmp_path):
    generator = torch.Generator().manual_seed(1)
    for name in ("known/a/1", "known/b/1", "known/b/2", "known/c/1", "unknown/1", "unknown/2"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (28, 28), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(path)
    words = [f"support={tmp_path / 'known'}", f"query={tmp_path / 'unknown'}"]
    assert maml_adapt([f"run={run}", *words, f"output={tmp_path / 'out'}"]) == 0
    assert "eval.bn_stats=batch; with support each picture" in (
        (tmp_path / "out" / "table.md").read_text().replace("\n", " ")
    )
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    header, *rows = (line.split(",") for line in lines)
    places = [header.index(f"probability of {label}") for label in "abc"]
    expected = [[float(row[place]) for place in places] for row in rows]
    model = maml_cli.load(run)
    support = model.images(sorted((tmp_path / "known").rglob("*.png")))
    queries = model.images(sorted((tmp_path / "unknown").rglob("*.png")))
    with pytest.raises(UsageError, match=r"give a list, images\(\['a.png'\]\)"):
        model.images("a.png")
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        model.images([tmp_path / "none.png"])
    found = model.adapt(support, torch.tensor([0, 1, 1, 2])).predict(queries)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=0)


def test_pictures_of_an_unknown_range_are_refused(run, tmp_path):
    Image.fromarray(np.full((28, 28), 900, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="convert them to eight bits"):
        maml_cli.load(run).images([tmp_path / "deep.png"])


def test_curves(tmp_path):
    run = trained(tmp_path / "run", "algo=maml", "dataset=sinusoid")
    x = torch.linspace(-5, 5, 10).unsqueeze(1)
    model = maml_cli.load(run, "eval.inner_steps=3").adapt(x, x.sin())
    assert model.predict(x).shape == (10, 1)
    before = maml_cli.load(run, "eval.inner_steps=0").adapt(x, x.sin())
    error = [((m.predict(x) - x.sin()) ** 2).mean() for m in (before, model)]
    assert error[1] < error[0]
    lists = maml_cli.load(run, "eval.inner_steps=3").adapt(x.tolist(), x.sin().tolist())
    torch.testing.assert_close(lists.predict(x.tolist()), model.predict(x))
    with pytest.raises(UsageError, match=r"query_x has the shape \[10\]: give \['queries', 1\]"):
        model.predict(x[:, 0])
    with pytest.raises(UsageError, match="query_x has numbers that are not finite"):
        model.predict(x / 0)
    with pytest.raises(UsageError, match="support_y has numbers that are not finite"):
        maml_cli.load(run).adapt(x, x * torch.nan)
    with pytest.raises(UsageError, match="has no pictures"):
        maml_cli.load(run).images(["a.png"])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 3, 3], r"has the labels \[0, 1, 3\]"),
        ([0, 1, 0, 1], "head"),
        ([0, 1, 2], "4 examples and support_y 3"),
    ],
)
def test_what_does_not_fit_is_told(run, task, labels, said):
    with pytest.raises(UsageError, match=said):
        maml_cli.load(run).adapt(task[0], torch.tensor(labels))


def test_training_returns_the_results(tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["algo=scratch", "dataset=sinusoid", *FEW, f"hydra.run.dir={folder}"]
    results = maml_cli.train(words)
    assert results == {"folder": str(folder), **json.loads((folder / "results.json").read_text())}
    assert "iteration" in capsys.readouterr().out
    with pytest.raises(UserError, match="ended with exit code 2") as caught:
        maml_cli.train(["algo=mamk", f"hydra.run.dir={tmp_path / 'other'}"])
    assert any("no such algo" in message for message in caught.value.messages)
