"""Folders and archives look alike, and what is wrong with them is named."""

import os
import zipfile

import pytest

from maml_cli.core.errors import DataError
from maml_cli.data import files
from maml_cli.data.array_files import ArrayFiles
from maml_cli.data.files import FolderFiles, ZipFiles
from maml_cli.data.tar_files import TarFiles

CONTENT = {"set/b/2.png": b"two", "set/a/1.png": b"one", "set/notes.txt": b"text"}
NOISE = {"set/.DS_Store": b"x", "set/a/._1.png": b"x", "__MACOSX/set/a/1.png": b"x"}


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (CONTENT | NOISE).items():
            file.writestr(name, content)
    return path


@pytest.fixture
def folder(tmp_path):
    for name, content in (CONTENT | NOISE).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path / "set"


def test_a_folder_and_an_archive_of_it_hold_the_same(folder, archive):
    for found in (FolderFiles(folder), ZipFiles(archive)):
        assert found.names == ["set/a/1.png", "set/b/2.png", "set/notes.txt"]
        assert [found.read(name) for name in found.names] == [b"one", b"two", b"text"]


def test_backslashes_of_windows_are_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        member = zipfile.ZipInfo("x")
        member.filename = "set\\a\\1.png"  # the constructor would end the name
        file.writestr(member, b"one")
    found = ZipFiles(tmp_path / "set.zip")
    assert found.names == ["set/a/1.png"]
    assert found.read("set/a/1.png") == b"one"


@pytest.mark.parametrize("reader", [ZipFiles, TarFiles, ArrayFiles])
@pytest.mark.parametrize("name", ["train.zip", "train.tar", "train.pkl", "train.npz"])
def test_nobody_waits_for_a_pipe(tmp_path, reader, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is a pipe, and only regular files are used"):
        reader(tmp_path / name)


def test_the_fingerprint_follows_the_files(folder, archive):
    before = FolderFiles(folder).fingerprint, ZipFiles(archive).fingerprint
    assert (FolderFiles(folder).fingerprint, ZipFiles(archive).fingerprint) == before
    os.utime(folder / "a" / "1.png", ns=(1, 1))
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("set/c/3.png", b"three")
    assert FolderFiles(folder).fingerprint != before[0]
    assert ZipFiles(archive).fingerprint != before[1]


@pytest.mark.parametrize("length", [0, 40, -1])
def test_a_truncated_archive_is_named(archive, length):
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(DataError, match=r"set\.zip: not a complete zip archive .*get it again"):
        ZipFiles(archive)


@pytest.mark.parametrize("place", [6, 46], ids=["version", "name"])
def test_a_damaged_table_of_contents_is_an_error_of_the_archive(tmp_path, place):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("é.png", b"one")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + place] = 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.zip: not a complete zip archive"):
        ZipFiles(path)


def test_a_damaged_member_is_named(archive):
    archive.write_bytes(archive.read_bytes().replace(b"two", b"tow"))
    with pytest.raises(DataError, match=r"set\.zip: set/b/2\.png is damaged \(Bad CRC-32"):
        ZipFiles(archive).read("set/b/2.png")


def test_a_member_that_claims_to_be_huge_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("set/a/1.png", bytes(files.MAX_BYTES + 1))
    with pytest.raises(DataError, match=r"set/a/1\.png says it is larger than 67108864 bytes"):
        ZipFiles(tmp_path / "bomb.zip").read("set/a/1.png")


def test_a_file_that_cannot_be_read_is_named(folder):
    found = FolderFiles(folder)
    (folder / "b" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png: No such file"):
        found.read("set/b/2.png")
    (folder / "b" / "2.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"2\.png: No such file"):
        FolderFiles(folder)


def test_linked_folders_are_followed_but_not_in_circles(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "3.png").write_bytes(b"three")
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "self").symlink_to(folder / "a")
    found = FolderFiles(folder)
    assert found.names == ["set/a/1.png", "set/b/2.png", "set/c/3.png", "set/notes.txt"]
    assert found.read("set/c/3.png") == b"three"
