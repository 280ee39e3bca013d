"""Pictures of any size and kind, decoded in parallel into bytes of one shape."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from maml_cli.core.errors import DataError
from maml_cli.data.faults import refusal
from maml_cli.data.files import Files, name_within
from maml_cli.data.formats import opened, turn
from maml_cli.data.pixel_values import RangeUnknown, Survey, ValueRange, deep_values, survey
from maml_cli.data.progress import tracked

BATCH = 64
"""So many undecoded pictures are in memory at once."""

Fit = Literal["crop", "stretch"]
"""`crop`: the middle square; `stretch`: the whole picture, whatever its proportions."""


class Picture(NamedTuple):
    """One picture: where it is, and its name there."""

    files: Files
    name: str

    def __str__(self) -> str:
        path, within = self.files.path, name_within(self.files, self.name)
        return str(path / within) if path.is_dir() else f"{path}: {within}"


class PictureClass(NamedTuple):
    """All pictures of one class, in a fixed order."""

    label: str
    pictures: list[Picture]


Decode = Callable[[Image.Image, ValueRange | None], NDArray[np.uint8]]
"""Makes `(channels, size, size)` bytes of an open picture, by the range of its values.

Raises ValueError if that cannot be, and RangeUnknown if it needs a range and has none.
"""


class Broken(DataError):
    """Pictures that cannot be read."""

    def __init__(self, pictures: "Sequence[Picture]", *messages: str) -> None:
        super().__init__(*messages)
        self.pictures = pictures


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

    def __call__(self, image: Image.Image, values: ValueRange | None = None) -> NDArray[np.uint8]:
        """The picture's bytes; raises ValueError or RangeUnknown."""
        plain = _plain(image, "RGB" if self.channels == 3 else "L", values)
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
    `values` is the range that the pictures' values had in training; None: nobody needed one.
    """

    shape: tuple[int, int, int]
    decode: Decode
    scale: Sequence[float]
    shift: Sequence[float]
    values: ValueRange | None = None


def standardised(
    recipe: Recipe,
    mean: Sequence[float],
    std: Sequence[float],
    values: ValueRange | None = None,
) -> PictureForm:
    """The form in which colours c (0 to 1) become `(c - mean) / std`, per channel."""
    return PictureForm(
        shape=recipe.shape,
        decode=recipe,
        scale=[1 / (255 * s) for s in std],
        shift=[-m / s for m, s in zip(mean, std, strict=True)],
        values=values,
    )


def decoded(
    pictures: Sequence[Picture], decode: Decode, values: ValueRange | None, what: str
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Each picture's place in the sequence and `(1, channels, size, size)` bytes, in any order.

    Raises Broken, at the end, naming the pictures that cannot be read, or RangeUnknown.
    """
    problems: dict[int, str] = {}
    order = _order(pictures)
    places = iter(tracked(order, f"Decoding {what}", len(order)))
    made = partial(_decode, decode=decode, values=values)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(places, BATCH)):
            # read here, one after the other: a compressed archive can be read forwards only
            contents = (_content(pictures[place]) for place in batch)
            for place, image in zip(batch, pool.map(made, contents), strict=True):
                if isinstance(image, str):
                    problems[place] = f"{pictures[place]} cannot be used ({image})"
                elif not problems:
                    yield place, image[None]
    if problems:
        advice = f"These pictures of {what} are broken; get them again, or take them away."
        raise Broken(
            [pictures[place] for place in sorted(problems)],
            *refusal(list(problems.values()), advice),
        )


def surveyed(pictures: Sequence[Picture]) -> Survey | None:
    """The values of those that have more than eight bits a colour; None if none has."""

    def images() -> Iterator[Image.Image]:
        for place in tracked(_order(pictures), "Looking for the range of values", len(pictures)):
            content = _content(pictures[place])
            if isinstance(content, bytes):
                with suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError):
                    yield opened(content)

    return survey(images())


def _order(pictures: Sequence[Picture]) -> list[int]:
    """Places in the order in which reading is fastest."""
    return sorted(
        range(len(pictures)), key=lambda i: (str(pictures[i].files.path), _place(pictures[i]))
    )


def _place(picture: Picture) -> tuple[int, str]:
    return picture.files.place(picture.name), picture.name


def _content(picture: Picture) -> bytes | DataError:
    try:
        return picture.files.read(picture.name)
    except DataError as error:
        return error


def _decode(
    content: bytes | DataError, decode: Decode, values: ValueRange | None
) -> NDArray[np.uint8] | str:
    """The picture, or what is wrong with it."""
    if isinstance(content, DataError):
        return str(content)
    try:
        with opened(content) as image:
            image.verify()  # the checksums of a PNG, which decoding passes over
        with opened(content) as image, turn(image):
            return decode(image, values)
    except (OSError, MemoryError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error)


def _plain(image: Image.Image, mode: Literal["RGB", "L"], values: ValueRange | None) -> Image.Image:
    """The picture upright and opaque, with eight bits a colour."""
    deep = deep_values(image)
    if deep is None:
        plain = _opaque(ImageOps.exif_transpose(image)).convert(mode)
        if values is None or not values.every:
            return plain
        return Image.fromarray(values.bytes_of(np.asarray(plain)))
    if values is None:
        raise RangeUnknown
    plain = Image.fromarray(values.bytes_of(deep))
    if image.mode == "RGBA":
        plain.putalpha(ImageOps.exif_transpose(image).getchannel("A"))
    return _opaque(plain).convert(mode)


def _opaque(image: Image.Image) -> Image.Image:
    """What is transparent shows white."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
