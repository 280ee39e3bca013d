"""The zoo: what of a run is kept, and that every entry can be used."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

import maml_cli
from maml_cli.commands.evaluate import main as maml_eval
from maml_cli.commands.train import main as maml_train
from maml_cli.storage.checkpoint import read

ROOT = Path(__file__).parents[1]
ENTRIES = sorted(file.parent for file in (ROOT / "zoo").glob("*/config.yaml"))
TINY = [
    *("algo=mamlpp", "dataset=glyphs", "backbone.filters=4", "ways=3", "engine=loop"),
    *("train.epochs=3", "train.iterations_per_epoch=1", "train.tasks_per_batch=1"),
    *("eval.val_episodes=2", "eval.test_episodes=3"),
]


def script(name: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machine") / "run"
    places = (f"hydra.run.dir={folder}", f"cache_dir={folder.parent / 'cache'}")
    assert maml_train([*TINY, *places]) == 0
    return folder


@pytest.fixture(scope="module")
def zoo(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The script, with a zoo of its own that has the run as the entry `tiny`."""
    module = script("zoo")
    module.ZOO = tmp_path_factory.mktemp("zoo")
    (module.ZOO / "README.md").write_text(f"kept\n\n{module.MARK}old table\n")
    module.add(run, "tiny")
    return module


def test_an_entry_holds_the_weights_of_the_best_epoch_alone(zoo: ModuleType, run: Path) -> None:
    entry = zoo.ZOO / "tiny"
    best = json.loads((run / "results.json").read_text())["val"]["best_epoch"]
    whole = read(run / "checkpoints" / f"epoch-{best:04d}.pt")
    kept = read(entry / "checkpoints" / f"epoch-{best:04d}.pt")
    assert kept["theta"].keys() == whole["theta"].keys()
    assert all(torch.equal(kept["theta"][name], whole["theta"][name]) for name in whole["theta"])
    assert kept["optimizer"] is None
    held = sum(file.stat().st_size for file in entry.glob("checkpoints/*"))
    numbers = sum(tensor.numel() for part in ("theta", "state") for tensor in kept[part].values())
    assert held < 4 * numbers + 40_000


def test_an_entry_names_no_place_of_the_machine(zoo: ModuleType, run: Path) -> None:
    place = str(run.parent).encode()
    assert place in (run / "config.yaml").read_bytes()
    files = [file for file in (zoo.ZOO / "tiny").rglob("*") if file.is_file()]
    assert not [file for file in files if place in file.read_bytes()]


def test_an_entry_repeats_the_test_of_its_weights(
    zoo: ModuleType, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    assert maml_eval([f"run={zoo.ZOO / 'tiny'}", f"output={out}", "engine=loop"]) == 0
    before, again = (json.loads((d / "results.json").read_text()) for d in (run, out))
    assert again["test"]["mean"] == again["test_single"]["mean"] == before["test_single"]["mean"]
    assert again["remarks"] == []


def test_training_does_not_go_on_from_an_entry(
    zoo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        maml_train([f"resume={zoo.ZOO / 'tiny'}", "train.epochs=4"])
    assert ended.value.code == 4
    assert f"init_from={zoo.ZOO / 'tiny'} starts a new run" in capsys.readouterr().err


def test_the_table_has_a_row_and_a_command_for_each_entry(zoo: ModuleType) -> None:
    zoo.write_table()
    text = (zoo.ZOO / "README.md").read_text()
    assert text.startswith(f"kept\n\n{zoo.MARK}| entry")
    assert "old table" not in text
    assert "| [zoo/tiny](tiny) | MAML++    | glyphs 3-way 1-shot |" in text
    assert f"maml-train {' '.join(TINY)}   # tiny\n" in text


def test_what_cannot_be_an_entry_is_refused(zoo: ModuleType, run: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no finished run"):
        zoo.add(tmp_path, "empty")
    with pytest.raises(SystemExit, match="is there already"):
        zoo.add(run, "tiny")


def test_settings_that_name_a_place_are_refused(zoo: ModuleType, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    words = [*TINY, f"init_from={run}", f"cache_dir={run.parent / 'cache'}"]
    assert maml_train([*words, f"hydra.run.dir={other}"]) == 0
    with pytest.raises(SystemExit, match=f"places of this machine.*{run}"):
        zoo.add(other, "other")
    assert not (zoo.ZOO / "other").exists()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_can_be_used_and_stands_in_the_table(entry: Path) -> None:
    assert maml_cli.load(entry).remarks == ()
    assert f"[zoo/{entry.name}]" in (ROOT / "zoo" / "README.md").read_text()


def test_the_drawn_characters_are_told_apart(tmp_path: Path) -> None:
    """What the README opens with."""
    draw = script("draw_characters")
    draw.draw(tmp_path / "drawn")
    entry = maml_cli.load(ROOT / "zoo" / "omniglot_5way_1shot_mamlpp")
    known = sorted((tmp_path / "drawn" / "known").glob("*/*.png"))
    unknown = sorted((tmp_path / "drawn" / "unknown").glob("*.png"))
    model = entry.adapt(entry.images(known), torch.arange(5))
    found = model.predict(entry.images(unknown)).argmax(-1).tolist()
    names = [known[place].parent.name for place in found]
    assert names == ["door", "wave", "fish", "anchor", "ladder"]
