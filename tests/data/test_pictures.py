"""Pictures of every kind become bytes of one shape; those that cannot are named."""

import io
import math

import numpy as np
import pytest
from picture_trees import png, write_files
from PIL import Image

from maml_cli.core.errors import DataError
from maml_cli.data.files import FolderFiles
from maml_cli.data.pictures import Picture, Recipe, decoded
from maml_cli.data.pixel_values import ValueRange

COLOUR = Recipe(size=4, channels=3, fit="stretch")


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def decode(
    tmp_path, recipe: Recipe, *contents: bytes, values: ValueRange | None = None
) -> np.ndarray:
    write_files(tmp_path / "all", {f"{i:03d}.png": c for i, c in enumerate(contents)})
    files = FolderFiles(tmp_path / "all")
    pictures = [Picture(files, name) for name in files.names]
    found = np.zeros((len(contents), *recipe.shape), np.uint8)
    for place, image in decoded(pictures, recipe, values, "pictures"):
        found[place] = image[0]
    return found


def sixteen_bits(value: int) -> bytes:
    return encoded(Image.fromarray(np.full((9, 9), value, np.uint16)), "PNG")


def palette() -> bytes:
    image = Image.new("P", (9, 9), 1)
    image.putpalette([0, 0, 0, 255, 128, 0])
    return encoded(image, "PNG")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(png(200, "L"), (200, 200, 200), id="grey"),
        pytest.param(png(1, "1"), (255, 255, 255), id="one bit"),
        pytest.param(palette(), (255, 128, 0), id="palette"),
        pytest.param(png((10, 20, 30)), (10, 20, 30), id="RGB"),
        pytest.param(png((10, 20, 30, 255), "RGBA"), (10, 20, 30), id="opaque"),
        pytest.param(png((10, 20, 30, 0), "RGBA"), (255, 255, 255), id="transparent"),
        pytest.param(png((0, 0), "LA"), (255, 255, 255), id="transparent grey"),
        pytest.param(
            encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), (255, 0, 0), id="CMYK"
        ),
    ],
)
def test_every_mode_becomes_rgb_and_grey(tmp_path, content, expected):
    (colour,) = decode(tmp_path, COLOUR, content)
    assert (colour == np.array(expected)[:, None, None]).all()
    (grey,) = decode(tmp_path, Recipe(size=4, channels=1, fit="crop"), content)
    red, green, blue = expected
    assert grey.shape == (1, 4, 4)
    assert np.abs(grey - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1


def test_what_is_not_square_is_cropped_or_stretched(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255  # the middle third is white
    content = encoded(Image.fromarray(wide), "PNG")
    cropped = decode(tmp_path, Recipe(size=8, channels=3, fit="crop"), content)
    assert (cropped == 255).all()
    (stretched,) = decode(tmp_path, Recipe(size=9, channels=3, fit="stretch"), content)
    assert (stretched[:, 4, [1, 4, 7]] == [0, 255, 0]).all()


def test_a_picture_of_the_right_size_keeps_its_pixels_and_rows_come_first(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    (image,) = decode(tmp_path, COLOUR, encoded(Image.fromarray(pixels), "PNG"))
    assert np.array_equal(image, pixels.transpose(2, 0, 1))


def test_a_camera_held_sideways_is_put_right(tmp_path):
    image = Image.new("RGB", (40, 20))
    image.paste("white", (0, 0, 20, 20))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees: left becomes top
    (upright,) = decode(tmp_path, COLOUR, encoded(image, "JPEG", exif=exif, quality=100))
    assert upright[:, 0].min() > 200
    assert upright[:, 3].max() < 50


def test_many_pictures_keep_their_places(tmp_path):
    contents = [png((i, 0, 0), size=(5, 5)) for i in range(200)]
    images = decode(tmp_path, COLOUR, *contents)
    assert images[:, 0, 0, 0].tolist() == list(range(200))


def test_broken_pictures_are_named_and_counted(tmp_path):
    floating = encoded(Image.new("F", (4, 4), math.nan), "TIFF")
    web = b"\n<!DOCTYPE html><title>404</title>"
    broken = [floating, b"", web, png(0, "L")[:60], *[b"no picture"] * 8]
    with pytest.raises(DataError) as caught:
        decode(tmp_path, COLOUR, png(0, "L"), *broken)
    *named, more, advice = caught.value.messages
    assert len(named) == 10
    assert named[0] == (
        f"{tmp_path}/all/001.png cannot be used (some of its values are no finite numbers)"
    )
    assert named[1].endswith("(it is empty)")
    assert named[2].endswith("(it is a web page; what should be there was not downloaded)")
    assert named[4].endswith("(it is no kind of picture that Pillow reads)")
    assert not any("BytesIO" in name for name in named)
    assert [p.name for p in caught.value.pictures] == [f"all/{i:03d}.png" for i in range(1, 13)]
    assert more == "... and 2 more"
    assert "take them away" in advice
