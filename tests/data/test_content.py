"""Data sets that look alike from outside are told apart by what they hold."""

import os

import numpy as np
import pytest
from PIL import Image

from maml_cli.data import content
from maml_cli.data.content import content_digest
from maml_cli.data.files import FolderFiles
from maml_cli.data.pictures import Picture


def pictures(folder):
    files = FolderFiles(folder)
    return [Picture(files, name) for name in files.names]


def write(folder, value, number=4):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(number):
        pixels = np.full((8, 8), value + i, np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.ppm")
        os.utime(folder / f"{i}.ppm", (0, 0))
    return folder


def test_twins_with_equal_names_sizes_and_times_differ(tmp_path):
    first, second = (write(tmp_path / str(v) / "set", v) for v in (1, 2))
    cache = tmp_path / "cache"
    assert content_digest(pictures(first), cache) != content_digest(pictures(second), cache)


def test_a_copy_is_the_same_data_set(tmp_path):
    first, copy = (write(tmp_path / name / "set", 1) for name in "ab")
    cache = tmp_path / "cache"
    assert content_digest(pictures(first), cache) == content_digest(pictures(copy), cache)


def test_a_change_in_place_with_the_old_times_is_seen(tmp_path):
    folder, cache = write(tmp_path / "set", 1), tmp_path / "cache"
    before = content_digest(pictures(folder), cache)
    status = (folder / "3.ppm").stat()
    raw = bytearray((folder / "3.ppm").read_bytes())
    raw[-1] ^= 1
    (folder / "3.ppm").write_bytes(raw)
    os.utime(folder / "3.ppm", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_digest(pictures(folder), cache) != before


def test_unchanged_pictures_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "SAMPLED", 2)
    folder, cache = write(tmp_path / "set", 1, number=6), tmp_path / "cache"
    before = content_digest(pictures(folder), cache)
    read = []
    monkeypatch.setattr(FolderFiles, "read", _noting(FolderFiles.read, read))
    assert content_digest(pictures(folder), cache) == before
    assert len(read) == 2


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"key": 1, "text": "x"}', b"\xff"])
def test_a_damaged_note_is_made_again(tmp_path, damage):
    folder, cache = write(tmp_path / "set", 1), tmp_path / "cache"
    before = content_digest(pictures(folder), cache)
    (note,) = cache.glob("content-*.json")
    note.write_bytes(damage)
    assert content_digest(pictures(folder), cache) == before


def _noting(read, names):
    def noted(self, name):
        names.append(name)
        return read(self, name)

    return noted
