"""Pictures of more than eight bits: their range is found, said, and used for all."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from maml_cli.data.formats import opened
from maml_cli.data.pictures import Recipe
from maml_cli.data.pixel_values import RangeUnknown, Survey, ValueRange, deep_values, survey

GREY = Recipe(size=4, channels=1, fit="stretch")
VALUES = np.arange(16).reshape(4, 4)


def file_of(values: np.ndarray, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, form)
    return file.getvalue()


def png_of_sixteen_bits(values: np.ndarray) -> bytes:
    """A PNG of 2 (grey and alpha), 3 or 4 colours of sixteen bits, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, colours = values.shape
    kind = {3: 2, 4: 6}[colours]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(file_of((VALUES * 64).astype(np.uint16), "PNG"), id="10 bits in 16, PNG"),
        pytest.param(file_of((VALUES * 64).astype(np.uint16), "TIFF"), id="10 bits in 16, TIFF"),
        pytest.param(file_of((VALUES - 8).astype(np.int32), "TIFF"), id="signed"),
        pytest.param(file_of(VALUES.astype(np.float32) / 15, "TIFF"), id="floating-point"),
    ],
)
def test_the_range_that_is_found_is_that_of_eight_bits(content):
    found = survey([opened(content)])
    assert np.array_equal(GREY(opened(content), found.range)[0], VALUES * 17)
    with pytest.raises(RangeUnknown):
        GREY(opened(content), None)


def test_sixteen_bits_of_each_colour_are_read_in_full():
    values = np.random.default_rng(0).integers(0, 1024, (4, 4, 3))
    assert np.array_equal(deep_values(opened(png_of_sixteen_bits(values))), values)
    alpha = np.concatenate([values, np.full((4, 4, 1), 65535)], -1)
    assert np.array_equal(deep_values(opened(png_of_sixteen_bits(alpha))), values)
    colour = Recipe(size=4, channels=3, fit="stretch")
    image = colour(opened(png_of_sixteen_bits(alpha)), ValueRange(0, 1020))
    assert np.abs(image - values.transpose(2, 0, 1).clip(0, 1020) / 4).max() <= 0.5


def test_pictures_of_eight_bits_stay_as_they_are_unless_the_user_says_so():
    content = file_of(VALUES.astype(np.uint8), "PNG")
    assert np.array_equal(GREY(opened(content), ValueRange(0, 1000))[0], VALUES)
    assert np.array_equal(GREY(opened(content), ValueRange(0, 15, every=True))[0], VALUES * 17)
    assert survey([opened(content)]) is None


def test_a_few_extreme_values_are_pointed_out():
    values = np.arange(10_000).reshape(100, 100) % 1000
    values[0, 0] = 65535
    found = survey([opened(file_of(values.astype(np.uint16), "PNG"))])
    assert found.range == ValueRange(0, 65535)
    said = found.said("training")
    assert "0 to 65535, the lowest and the highest value in training" in said
    low, high = np.quantile(values, (0.01, 0.99))
    assert f"dataset.range=[{low:g},{high:g}]" in said
    assert "dataset.range" not in Survey(0, 1000, 0, 900, 3).said("training")
