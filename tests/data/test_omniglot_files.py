"""Omniglot's pictures: found in any layout, counted, decoded and fetched; each fault named."""

import functools
import hashlib
import http.server
import io
import threading
from pathlib import Path

import numpy as np
import pytest
from picture_trees import write_files
from PIL import Image

from maml_cli.core.errors import DataError
from maml_cli.data.omniglot_files import (
    characters,
    decoded,
    download_parts,
    find_parts,
    found_in,
)

SMALL = {"images_background": {"Aleph": 2, "Beth_(old)": 1}, "images_evaluation": {"Beth": 2}}
NUMBERS = {  # what the fixture's drawings show, in the order of sorted labels
    "Aleph/character01": 1,
    "Aleph/character02": 2,
    "Beth/character01": 1,
    "Beth/character02": 2,
    "Beth_(old)/character01": 3,
}


def read(root: Path):
    return characters(find_parts(root, SMALL), SMALL, drawings=3)


def faults(root: Path) -> list[str]:
    """What is said about the data at `root`, without the path and the closing advice."""
    with pytest.raises(DataError) as caught:
        list(decoded(read(root), 28))
    *messages, advice = caught.value.messages
    assert advice.startswith("Omniglot is incomplete or damaged; get it again from https://")
    return [message.removeprefix(f"{root}/") for message in messages]


def numbers(images: np.ndarray) -> np.ndarray:
    """The numbers that the fixture's drawings show: bits in squares of 4 pixels of 28."""
    black = images[..., 2::4, 2::4] == 0
    return black.reshape(*images.shape[:-2], 49) @ 2 ** np.arange(49)


@pytest.mark.parametrize("below", [".", "omniglot-py", "python"])
def test_characters_are_sorted_by_label_from_folders_and_archives(
    tmp_path, small_files, write, below
):
    write(tmp_path / below, small_files)
    classes = read(tmp_path)
    assert [character.label for character in classes] == list(NUMBERS)
    images = np.concatenate(list(decoded(classes, 28)))
    assert images.shape == (5, 3, 1, 28, 28)
    assert set(np.unique(images)) == {0, 255}
    assert numbers(images[:, :, 0]).tolist() == [[number] * 3 for number in NUMBERS.values()]


@pytest.mark.parametrize("below", [".", "omniglot_dataset"])
def test_a_tree_of_all_alphabets_is_both_parts(tmp_path, small_files, below):
    merged = {n.partition("/")[2]: c for files in small_files.values() for n, c in files.items()}
    write_files(tmp_path / below, merged)
    assert [character.label for character in read(tmp_path)] == list(NUMBERS)


def test_what_is_there_instead_is_said(tmp_path):
    assert found_in(tmp_path / "nothing") == "there is no such folder"
    assert found_in(tmp_path) == "it is empty"
    write_files(tmp_path, {f"{i:02d}.npz": b"" for i in range(12)})
    assert found_in(tmp_path) == f"in it: {', '.join(f'{i:02d}.npz' for i in range(10))} and 2 more"


def test_the_order_of_files_does_not_matter(tmp_path, small_files, write):
    backwards = {part: dict(reversed(files.items())) for part, files in small_files.items()}
    write(tmp_path / "a", small_files)
    write(tmp_path / "b", backwards)
    left, right = read(tmp_path / "a"), read(tmp_path / "b")
    assert [(c.label, c.drawings) for c in left] == [(c.label, c.drawings) for c in right]
    assert all(character.drawings == sorted(character.drawings) for character in left)


def test_what_is_missing_surplus_or_incomplete_is_named_at_once(tmp_path, small_files, write):
    files = small_files["images_background"]
    for name in [name for name in files if "Aleph/character01" in name]:
        del files[name]
    del files["images_background/Beth_(old)/character01/0003_02.png"]
    files["images_background/Gimel/character01/0004_01.png"] = b""
    write(tmp_path, small_files)
    assert [message.replace(".zip", "") for message in faults(tmp_path)] == [
        "images_background: Aleph/character01 is missing",
        "images_background: Gimel/character01 is no character of Omniglot",
        "images_background: Beth_(old)/character01 has 2 of 3 drawings",
    ]


def test_broken_drawings_are_named_at_once(tmp_path, small_files, write):
    name = "images_evaluation/Beth/character01/0001_0{}.png".format
    files = small_files["images_evaluation"]
    files[name(1)] = files[name(1)][:-30]
    files[name(2)] = b"no picture"
    small = io.BytesIO()
    Image.new("1", (28, 28)).save(small, "PNG")
    files[name(3)] = small.getvalue()
    write(tmp_path, small_files)
    first, second, third = faults(tmp_path)
    assert f"{name(1)} is no drawing of Omniglot (" in first
    assert f"{name(2)} is no drawing of Omniglot (it is no kind of picture" in second
    assert f"{name(3)} is no drawing of Omniglot (28 x 28 pixels instead of 105 x 105)" in third


def test_many_faults_are_counted_after_the_first_ten(tmp_path, small_files, write):
    for files in small_files.values():
        files.update(dict.fromkeys(files, b"no picture"))
    write(tmp_path, small_files)
    messages = faults(tmp_path)
    assert len(messages) == 11
    assert messages[-1] == "... and 5 more"


def test_a_truncated_archive_is_named(tmp_path):
    (tmp_path / "images_background.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"images_background\.zip: not a complete zip archive"):
        find_parts(tmp_path, SMALL)


@pytest.fixture
def server(tmp_path):
    """An address that serves the folder `server` in `tmp_path`."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "server"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_a_missing_part_is_fetched_whole_and_checked(tmp_path, server):
    content = b"an archive"
    (tmp_path / "server" / "images_background.zip").write_bytes(content)
    right = {"images_background": hashlib.md5(content, usedforsecurity=False).hexdigest()}
    root = tmp_path / "data" / "omniglot"
    with pytest.raises(DataError, match=r"could not be downloaded .*and place them in"):
        download_parts(root, list(right), server, {"images_background": "0" * 32})
    with pytest.raises(DataError, match=r"could not be downloaded .*404"):
        download_parts(root, ["images_evaluation"], server, {"images_evaluation": "0" * 32})
    assert list(root.iterdir()) == []
    download_parts(root, list(right), server, right)
    assert [path.name for path in root.iterdir()] == ["images_background.zip"]
    assert (root / "images_background.zip").read_bytes() == content
