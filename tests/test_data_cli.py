"""maml-data: what it says, what it writes and how it ends."""

import pytest
from picture_trees import tree, write_files
from PIL import Image

from maml_cli.commands.data import main


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A small data set in the current folder, `mine`."""
    write_files(tmp_path / "mine", tree({"train": 4, "val": 3, "test": 3}, 3))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MAML_DATA_DIR", str(tmp_path / "data"))
    return ["dataset=image_folder", "dataset.path=mine", "ways=3", "queries=2"]


def test_own_pictures_are_counted_prepared_and_shown(own, tmp_path, capsys):
    assert main(own) == 0
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    assert ["train", "4", "3", "12"] in rows
    assert ["test", "3", "3", "9"] in rows
    assert "SHA-256" in out
    with Image.open(tmp_path / "outputs" / "image_folder" / "contact-sheet.png") as sheet:
        assert sheet.width > 3 * 3 * 84  # three episodes of three classes side by side
        assert sheet.height > 3 * 3 * 84  # three splits, a support and two query images each
        pasted = sheet.crop((30, 60, 300, 300)).convert("RGB").getcolors(2**20)
    assert len(pasted) > 6  # of three classes, a support and two query images each


def test_the_picture_goes_where_it_is_asked_for(own, tmp_path, capsys):
    assert main([*own, "--sheet", "a/b.png"]) == 0
    assert (tmp_path / "a" / "b.png").is_file()
    assert not (tmp_path / "outputs").exists()
    assert main([*own, "--sheet", "mine"]) == 6
    assert "--sheet" in capsys.readouterr().err


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["dataset=image_folder", "dataset.path=mine", "ways=9"], 2, "ways=9 needs 9 classes"),
        (["dataset=image_foldr"], 2, "did you mean image_folder?"),
        (["dataset=image_folder", "dataset.sise=3"], 2, "dataset.sise: no such key"),
        (["dataset=image_folder", "dataset.path=nowhere"], 3, "no such folder"),
        (["dataset=mini_imagenet"], 3, "has no folder mini-imagenet"),
        (["dataset=omniglot"], 3, "no images_background"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(arguments, code, message, capsys):
    assert main(arguments) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("own")
def test_what_is_generated_needs_no_preparation(capsys):
    assert main(["dataset=sinusoid"]) == 0
    assert "nothing to prepare" in capsys.readouterr().out


def test_the_help_has_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "maml-data dataset=mini_imagenet data_dir=DIR" in out
    assert "docs/data.md" in out
