"""Pictures of any size and kind, decoded in parallel into bytes of one shape."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from maml_cli.core.errors import DataError
from maml_cli.data.faults import refuse
from maml_cli.data.files import Files
from maml_cli.data.progress import tracked

SUFFIXES = (*(".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"), *(".tif", ".tiff", ".ppm", ".pgm"))
BATCH = 64
"""So many undecoded pictures are in memory at once."""

Fit = Literal["crop", "stretch"]
"""`crop`: the middle square; `stretch`: the whole picture, whatever its proportions."""


class Picture(NamedTuple):
    """One picture: where it is, and its name there."""

    files: Files
    name: str

    def __str__(self) -> str:
        return f"{self.files.path}: {self.name}"


class PictureClass(NamedTuple):
    """All pictures of one class, in a fixed order."""

    label: str
    pictures: list[Picture]


Decode = Callable[[Image.Image], NDArray[np.uint8]]
"""Makes `(channels, size, size)` bytes of an open picture; raises ValueError if that cannot be."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a picture becomes: `(channels, size, size)` bytes, of 1 (grey) or 3 channels (RGB)."""

    size: int
    channels: int
    fit: Fit

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one decoded picture."""
        return self.channels, self.size, self.size

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """The picture's bytes; raises ValueError if its pixels cannot be told."""
        upright = ImageOps.exif_transpose(image)
        plain = _opaque(_eight_bits(upright)).convert("RGB" if self.channels == 3 else "L")
        square = (self.size, self.size)
        if plain.size != square:
            # Pillow's default filter, which the official MAML++ code takes too
            if self.fit == "crop":
                plain = ImageOps.fit(plain, square, Image.Resampling.BICUBIC)
            else:
                plain = plain.resize(square, Image.Resampling.BICUBIC)
        pixels: NDArray[np.uint8] = np.asarray(plain).reshape(*square, self.channels)
        return np.moveaxis(pixels, -1, 0)


@dataclass(frozen=True, kw_only=True)
class PictureForm:
    """How a data set shows pictures to a network; others can be shown the same way.

    `decode` makes bytes b of the shape, of which the network sees `scale * b + shift`, per channel.
    """

    shape: tuple[int, int, int]
    decode: Decode
    scale: Sequence[float]
    shift: Sequence[float]


def standardised(recipe: Recipe, mean: Sequence[float], std: Sequence[float]) -> PictureForm:
    """The form in which colours c (0 to 1) become `(c - mean) / std`, per channel."""
    return PictureForm(
        shape=recipe.shape,
        decode=recipe,
        scale=[1 / (255 * s) for s in std],
        shift=[-m / s for m, s in zip(mean, std, strict=True)],
    )


def is_picture(name: str) -> bool:
    """Whether the name is that of a picture."""
    return name.lower().endswith(SUFFIXES)


def decoded(
    pictures: Sequence[Picture], decode: Decode, what: str
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Each picture's place in the sequence and `(1, channels, size, size)` bytes, in any order.

    Raises DataError, at the end, naming the pictures that cannot be read.
    """
    problems: list[str] = []
    order = sorted(
        range(len(pictures)), key=lambda i: (str(pictures[i].files.path), _place(pictures[i]))
    )
    places = iter(tracked(order, f"Decoding {what}", len(order)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(places, BATCH)):
            # read here, one after the other: a compressed archive can be read forwards only
            contents = (_content(pictures[place]) for place in batch)
            images = pool.map(lambda content: _decode(content, decode), contents)
            for place, image in zip(batch, images, strict=True):
                if isinstance(image, str):
                    problems.append(f"{pictures[place]} cannot be used ({image})")
                elif not problems:
                    yield place, image[None]
    refuse(problems, f"These pictures of {what} are broken; get them again, or take them away.")


def _place(picture: Picture) -> tuple[int, str]:
    return picture.files.place(picture.name), picture.name


def _content(picture: Picture) -> bytes | DataError:
    try:
        return picture.files.read(picture.name)
    except DataError as error:
        return error


def _decode(content: bytes | DataError, decode: Decode) -> NDArray[np.uint8] | str:
    """The picture, or what is wrong with it."""
    if isinstance(content, DataError):
        return str(content)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # the checksums of a PNG, which decoding passes over
        with Image.open(io.BytesIO(content)) as image:
            return decode(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen bits a pixel become eight; Pillow would cut off what is above 255."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is not known")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than sixteen bits")
    return Image.fromarray((values // 257).astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    """What is transparent shows white."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
