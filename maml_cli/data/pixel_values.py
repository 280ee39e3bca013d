"""Pictures of more than eight bits per colour, and the range of their values.

A camera of 10 bits stores values up to 1023 in 16 bits, a scanner signed ones, an instrument
floating-point ones. The files do not say which values are black and white; the training pictures
show it.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from pydantic import FiniteFloat

WIDE = 4
"""So many times the range of nearly all values is a range that leaves nearly all pictures dark."""
TAILS = (0.01, 0.99)
"""Between these shares of a picture's values lie nearly all of them."""

_OTHER_BYTES = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}
_COLOURS = ("RGB", "RGBA")


class ValueRange(NamedTuple):
    """The values that become black (0) and white (255); others are cut off."""

    low: FiniteFloat
    high: FiniteFloat
    every: bool = False
    """Whether pictures of eight bits are scaled too."""

    def bytes_of(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """The values as bytes, rounded to the nearest."""
        span = self.high - self.low or 1.0
        scaled = (values.astype(np.float64) - self.low) * (255 / span)
        scaled_bytes: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        return scaled_bytes

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


class RangeUnknown(Exception):
    """A picture has more than eight bits, and nobody has said what their range is."""


class Survey(NamedTuple):
    """The values of pictures of more than eight bits."""

    lowest: float
    highest: float
    usual_low: float
    """Nearly all values of a typical picture lie between this and `usual_high`."""
    usual_high: float
    pictures: int

    @property
    def range(self) -> ValueRange:
        """From the lowest value to the highest."""
        return ValueRange(self.lowest, self.highest)

    def said(self, where: str) -> str:
        """What was found and is used, and what to do if a few values stretch it."""
        text = (
            f"{self.pictures} pictures have more than eight bits a colour: {self.range}, the "
            f"lowest and the highest value in {where}, become black and white"
        )
        usual = self.usual_high - self.usual_low
        if WIDE * usual >= self.highest - self.lowest:
            return text
        return (
            f"{text}; nearly all values of a typical picture lie between {self.usual_low:g} and "
            f"{self.usual_high:g}: dataset.range=[{self.usual_low:g},{self.usual_high:g}] shows "
            "them in full"
        )


def deep_values(image: Image.Image) -> NDArray[np.generic] | None:
    """The values of a picture of more than eight bits, upright, `(height, width[, 3])`.

    None for a picture of eight bits. Raises ValueError if a value is not finite.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        values: NDArray[np.generic] = np.asarray(ImageOps.exif_transpose(image))
        if not np.isfinite(values).all():
            raise ValueError("some of its values are no finite numbers")
        return values
    return _colours_of_sixteen_bits(image)


def _colours_of_sixteen_bits(image: Image.Image) -> NDArray[np.generic] | None:
    """Pillow keeps the upper eight bits of each colour; read with the bytes swapped, the lower."""
    if not isinstance(image, ImageFile.ImageFile):
        return None
    kinds = {_raw_mode(tile.args) for tile in image.tile}
    depth = next((end for kind in kinds for end in _OTHER_BYTES if kind.endswith(end)), None)
    if depth is None or image.mode not in _COLOURS or image.fp is None:
        return None
    start = image.fp.tell()
    image.fp.seek(0)
    other = Image.open(image.fp, formats=[str(image.format)])
    if not isinstance(other, ImageFile.ImageFile):
        return None
    other.tile = [tile._replace(args=_swapped(tile.args, depth)) for tile in other.tile]
    lower = np.asarray(ImageOps.exif_transpose(other))[..., :3]
    image.fp.seek(start)
    upper = np.asarray(ImageOps.exif_transpose(image))[..., :3]
    values: NDArray[np.generic] = upper.astype(np.uint16) * np.uint16(256) + lower
    return values


def _raw_mode(arguments: object) -> str:
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _swapped(arguments: Any, depth: str) -> Any:
    kind = _raw_mode(arguments).removesuffix(depth) + _OTHER_BYTES[depth]
    return (kind, *arguments[1:]) if isinstance(arguments, tuple) else kind


def survey(images: Iterable[Image.Image]) -> Survey | None:
    """The range of the values of all that have more than eight bits; None if none has."""
    with ThreadPoolExecutor() as pool:
        found = [extremes for extremes in pool.map(_extremes, images) if extremes is not None]
    if not found:
        return None
    lows, highs, usual_lows, usual_highs = np.array(found).T
    return Survey(
        lowest=float(lows.min()),
        highest=float(highs.max()),
        usual_low=float(np.median(usual_lows)),
        usual_high=float(np.median(usual_highs)),
        pictures=len(found),
    )


def _extremes(image: Image.Image) -> tuple[float, float, float, float] | None:
    try:
        values = deep_values(image)
    except (OSError, SyntaxError, ValueError):
        return None  # decoding it will say what is wrong
    if values is None:
        return None
    low, high = np.quantile(values.astype(np.float64), TAILS)
    return float(values.min()), float(values.max()), float(low), float(high)
