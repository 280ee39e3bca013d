"""The image cache: made once, mapped afterwards, and never believed when it is damaged."""

import hashlib
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from maml_cli.core.errors import DataError, StorageError
from maml_cli.data.cache import cached_images

IMAGES = np.arange(2 * 3 * 1 * 4 * 4, dtype=np.uint8).reshape(2, 3, 1, 4, 4)


class Maker:
    """Makes IMAGES in two pieces, last first, and counts how often it was asked to."""

    calls = 0

    def __call__(self):
        self.calls += 1
        yield 1, IMAGES[1:]
        yield 0, IMAGES[:1]


def load(folder: Path, maker, key: str = "key"):
    return cached_images(folder, "toy", key=key, shape=IMAGES.shape, pieces=maker).images


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def test_images_are_made_once_and_mapped_afterwards(tmp_path):
    maker = Maker()
    for _ in range(3):
        images = load(tmp_path / "deep" / "cache", maker)
        assert isinstance(images, np.memmap)
        assert np.array_equal(images, IMAGES)
    assert maker.calls == 1
    assert files(tmp_path / "deep" / "cache") == [".json", ".npy"]


def test_the_checksum_is_of_the_images_alone(tmp_path):
    for _ in range(2):
        cached = cached_images(tmp_path, "toy", key="key", shape=IMAGES.shape, pieces=Maker())
        assert cached.checksum == hashlib.sha256(bytes(range(96))).hexdigest()


def test_a_change_to_the_mapped_images_stays_in_memory(tmp_path):
    load(tmp_path, Maker())[:] = 0
    assert np.array_equal(load(tmp_path, Maker()), IMAGES)


def test_another_key_has_files_of_its_own(tmp_path):
    maker = Maker()
    load(tmp_path, maker, "one")
    load(tmp_path, maker, "two")
    assert maker.calls == 2
    load(tmp_path, maker, "one")
    assert maker.calls == 2


def flip_a_pixel(pixels: Path, _: Path):
    data = bytearray(pixels.read_bytes())
    data[-5] ^= 1
    pixels.write_bytes(data)


def swap_the_shape(pixels: Path, _: Path):
    np.save(pixels, IMAGES.reshape(3, 2, 1, 4, 4))


def truncate(pixels: Path, _: Path):
    pixels.write_bytes(pixels.read_bytes()[:-1])


def empty(pixels: Path, _: Path):
    pixels.write_bytes(b"")


def garble_the_facts(_: Path, facts: Path):
    facts.write_bytes(b"\xff{")


def lie_about_the_key(_: Path, facts: Path):
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"key": "other"}))


damages = [flip_a_pixel, swap_the_shape, truncate, empty, garble_the_facts, lie_about_the_key]


@pytest.mark.parametrize("damage", damages)
def test_damage_is_noticed_said_and_repaired(tmp_path, damage, capsys):
    maker = Maker()
    load(tmp_path, maker)
    damage(*sorted(tmp_path.iterdir(), reverse=True))
    assert np.array_equal(load(tmp_path, maker), IMAGES)
    assert "is damaged: making it again" in capsys.readouterr().err
    assert np.array_equal(load(tmp_path, maker), IMAGES)
    assert maker.calls == 2


@pytest.mark.parametrize("lost", [".npy", ".json"])
def test_a_lost_file_is_made_again_without_alarm(tmp_path, lost, capsys):
    maker = Maker()
    load(tmp_path, maker)
    next(tmp_path.glob(f"*{lost}")).unlink()
    assert np.array_equal(load(tmp_path, maker), IMAGES)
    assert maker.calls == 2
    assert capsys.readouterr().err == ""


def test_what_fails_half_way_leaves_nothing(tmp_path):
    def broken():
        yield 0, IMAGES[:1]
        raise DataError("image 2 is broken")

    with pytest.raises(DataError, match="image 2 is broken"):
        load(tmp_path, broken)
    with pytest.raises(ValueError, match="48 bytes do not fill"):
        load(tmp_path, lambda: [(0, IMAGES[:1])])
    assert files(tmp_path) == []


def test_an_interruption_leaves_nothing(tmp_path):
    def interrupted():
        yield 1, IMAGES[1:]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, interrupted)
    assert files(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems leave the unfinished file")
def test_a_killed_program_leaves_nothing(tmp_path):
    program = (
        "import os, pathlib, signal, numpy as np\n"
        "from maml_cli.data.cache import cached_images\n"
        "def pieces():\n"
        "    yield 0, np.zeros((1, 1000), np.uint8)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"cached_images(pathlib.Path({str(tmp_path)!r}), 'toy', key='', shape=(2, 1000), "
        "pieces=pieces)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert files(tmp_path) == []


def test_several_programs_at_once_agree(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        for images in pool.map(lambda _: load(tmp_path, Maker()), range(32)):
            assert np.array_equal(images, IMAGES)
    assert files(tmp_path) == [".json", ".npy"]


def test_a_cache_that_cannot_be_written_says_where_and_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file/cache cannot be written .*: .*set cache_dir"):
        load(tmp_path / "file" / "cache", Maker())
