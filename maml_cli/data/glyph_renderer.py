"""Draws characters in the DejaVu faces that come with matplotlib."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from maml_cli.data.progress import tracked

SIZE = 28
FACES = tuple(
    f"DejaVu{family}"
    for family in (
        *("Sans", "Serif", "SansMono"),
        *("Sans-Bold", "Serif-Bold", "SansMono-Bold"),
        *("Sans-Oblique", "Serif-Italic", "SansMono-Oblique"),
        *("Sans-BoldOblique", "Serif-BoldItalic", "SansMono-BoldOblique"),
    )
)
_EM = 96  # pixels of the font size that a character is first drawn in
_OVERSAMPLING = 4
_LONGER_SIDE = 19  # pixels of a character in the picture, before it is stretched
_SEED = 0


class Face(NamedTuple):
    """A font at the size of `_EM`, and the code points it has a shape for."""

    font: ImageFont.FreeTypeFont
    points: frozenset[int]


def rendered(characters: Sequence[str], samples: int) -> Iterator[NDArray[np.uint8]]:
    """Each character's pictures, `(1, samples, 1, SIZE, SIZE)`, ink 255 on 0.

    Sample i is in the i-th face that has the character, starting over after the last one, and
    changed by an affine map drawn from a fixed seed: turned by up to 10 degrees, sheared by up to
    0.15, stretched by 0.85 to 1.15 along each axis and moved by up to 2 pixels.
    """
    faces = load_faces()
    random = np.random.RandomState(_SEED)
    for character in tracked(characters, "Drawing characters", len(characters)):
        shapes = [_shape(character, f.font) for f in faces if ord(character) in f.points]
        pictures = [_distorted(shapes[i % len(shapes)], random) for i in range(samples)]
        yield np.stack(pictures)[None, :, None]


def load_faces() -> list[Face]:
    """The DejaVu faces, from matplotlib's own folder."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    folder = Path(get_data_path(), "fonts", "ttf")
    return [
        Face(
            ImageFont.truetype(path, _EM, layout_engine=ImageFont.Layout.BASIC),
            frozenset(FT2Font(str(path)).get_charmap()),
        )
        for path in (folder / f"{face}.ttf" for face in FACES)
    ]


def _shape(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The character's ink, cut out."""
    canvas = Image.new("L", (3 * _EM, 3 * _EM))
    centre = (canvas.width / 2, canvas.height / 2)
    ImageDraw.Draw(canvas).text(centre, character, 255, font=font, anchor="mm")
    return canvas.crop(canvas.getbbox())


def _distorted(shape: Image.Image, random: np.random.RandomState) -> NDArray[np.uint8]:
    angle, shear, *stretch = random.uniform(
        [-np.pi / 18, -0.15, 0.85, 0.85], [np.pi / 18, 0.15, 1.15, 1.15]
    )
    move = random.uniform(-2, 2, size=2)
    scale = _OVERSAMPLING * _LONGER_SIDE / max(shape.size)
    cos, sin = np.cos(angle), np.sin(angle)
    forward = np.array([[cos, -sin], [sin, cos]]) @ [[1, shear], [0, 1]] @ np.diag(stretch) * scale
    back = np.linalg.inv(forward)  # Pillow asks where in the source a pixel comes from
    side = SIZE * _OVERSAMPLING
    middle = side / 2 + move * _OVERSAMPLING
    offset = np.array(shape.size) / 2 - back @ middle
    coefficients = np.column_stack([back, offset]).ravel()
    large = shape.transform(
        (side, side), Image.Transform.AFFINE, tuple(coefficients), Image.Resampling.BILINEAR
    )
    return np.asarray(large.reduce(_OVERSAMPLING))
