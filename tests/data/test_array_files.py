"""Cached pickles: the arrays in them are found, and nothing in them is ever run."""

import io
import os
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maml_cli.core.errors import DataError
from maml_cli.data import restricted_pickle
from maml_cli.data.array_files import ArrayFiles
from maml_cli.data.restricted_pickle import read_pickle

IMAGES = np.arange(4 * 5 * 6 * 3, dtype=np.uint8).reshape(4, 5, 6, 3)
CACHE = {"image_data": IMAGES, "class_dict": {"n01": [0, 2], "n02": [3, 1]}}


def python_2_pickle() -> bytes:
    """CACHE as Python 2 wrote it, in protocol 2: the array's bytes are a BINSTRING."""
    raw = IMAGES.tobytes()

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    dtype = b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R"
    state = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R"
        b"(K\x01(K\x04K\x05K\x06K\x03t" + dtype + state + b"\x89"
        b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )
    classes = b"}(" + text("n01") + b"](K\x00K\x02e" + text("n02") + b"](K\x03K\x01eu"
    return b"\x80\x02}(" + text("image_data") + array + text("class_dict") + classes + b"u."


def test_the_pickle_of_python_2_is_what_python_reads_it_as():
    read = pickle.loads(python_2_pickle(), encoding="latin1")  # noqa: S301 - made above
    assert np.array_equal(read["image_data"], IMAGES)
    assert read["class_dict"] == CACHE["class_dict"]


@pytest.fixture(params=[2, 3, 4, 5, "python 2"])
def cache_file(request, tmp_path) -> Path:
    path = tmp_path / "mini-imagenet-cache-val.pkl"
    if request.param == "python 2":
        path.write_bytes(python_2_pickle())
    else:
        path.write_bytes(pickle.dumps(CACHE, request.param))
    return path


@pytest.mark.parametrize("large", [1, 2**20], ids=["mapped", "copied"])
def test_every_protocol_is_read(cache_file, large, monkeypatch):
    monkeypatch.setattr(restricted_pickle, "_LARGE", 100 if large == 1 else large)
    files = ArrayFiles(cache_file)
    assert files.names == [
        f"val/{label}.ppm"
        for label in ("n01/00000000", "n01/00000002", "n02/00000001", "n02/00000003")
    ]
    for name in files.names:
        with Image.open(io.BytesIO(files.read(name))) as image:
            assert np.array_equal(np.asarray(image), IMAGES[files.place(name)])


class Evil:
    """Makes a file when it is unpickled by an unrestricted reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def attacks(mark: Path) -> dict[str, bytes]:
    target = str(mark).encode()
    return {
        "reduce": pickle.dumps({"image_data": Evil(mark)}),
        "in a list": pickle.dumps([1, [Evil(mark)]], 2),
        "instance": b"(S'" + target + b"'\nios\nmkdir\n.",
        "object": b"(cos\nmkdir\nS'" + target + b"'\no.",
        "new object": b"\x80\x02cos\nmkdir\nS'" + target + b"'\n\x85\x81.",
        "getattr": b"\x80\x02cbuiltins\neval\nS'1'\n\x85R.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__class__\x93.",
        "state of a function": b"\x80\x02cnumpy\ndtype\nN}S'__defaults__'\nNs\x86b.",
        "persistent": b"Pid\n.",
        "extension": b"\x80\x02\x82\x01.",
        "another array": pickle.dumps({"image_data": np.array([{}], object)}),
        "huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b".",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b".",
        "cut short": pickle.dumps(CACHE)[:-20],
        "no pickle": b"hello",
        "itself": b"\x80\x02}q\x00S'a'\nh\x00s.",
        "called text": b"\x80\x02S'a'\n)R.",
    }


@pytest.mark.parametrize("name", attacks(Path("mark")))
def test_a_malicious_or_broken_pickle_is_refused_without_effect(tmp_path, name):
    path = tmp_path / "mini-imagenet-cache-val.pkl"
    path.write_bytes(attacks(tmp_path / "mark")[name])
    with pytest.raises(DataError, match=r"cache-val\.pkl: not a pickle of arrays .*get it again"):
        read_pickle(path)
    assert not (tmp_path / "mark").exists()


def test_the_attacks_would_work_elsewhere(tmp_path):
    """The mark appears with Python's own reader: the test above can fail."""
    for number, name in enumerate(("reduce", "in a list", "instance", "object")):
        content = attacks(tmp_path / str(number))[name]
        pickletools.dis(content, out=io.StringIO())
        pickle.loads(content)  # noqa: S301 - that it is unsafe is the point
        assert (tmp_path / str(number)).is_dir(), name


@pytest.mark.parametrize(
    "content",
    [
        {"image_data": IMAGES},
        {"image_data": IMAGES[0], "class_dict": {}},
        {"image_data": IMAGES, "class_dict": {"n01": [4]}},
        {"image_data": IMAGES, "class_dict": {"../n01": [0]}},
        {"image_data": IMAGES, "class_dict": {"n01": ["0"]}},
        [1, 2],
    ],
)
def test_another_content_is_named(tmp_path, content):
    path = tmp_path / "mini-imagenet-cache-val.pkl"
    path.write_bytes(pickle.dumps(content, 4))
    with pytest.raises(DataError, match="no file of Mini-ImageNet's pictures"):
        ArrayFiles(path)


@pytest.mark.parametrize(
    "labels", [np.full(4, np.inf), np.zeros((4, 2)), np.int64(3), np.array(["a/../b"] * 4)], ids=str
)
def test_labels_that_cannot_be_are_no_pictures(tmp_path, labels):
    np.savez(tmp_path / "train.npz", images=IMAGES, labels=labels)
    with pytest.raises(DataError, match="no file of Mini-ImageNet's pictures"):
        ArrayFiles(tmp_path / "train.npz")


def test_an_array_that_says_it_is_huge_is_refused(tmp_path):
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 84, 84, 3)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "train.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    with pytest.raises(DataError, match=r"train\.npz: not an .npz file of arrays"):
        ArrayFiles(tmp_path / "train.npz")
