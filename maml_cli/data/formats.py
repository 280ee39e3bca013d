"""Which files are pictures, and what a file is that is none."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import PurePosixPath
from threading import Lock

from PIL import Image, UnidentifiedImageError

from maml_cli.core.limits import LARGE_PICTURE_PIXELS, PICTURE_PIXELS, scaled, too_large

_LARGE = Lock()
FORMATS = (
    *("PNG", "JPEG"),  # the usual ones first, as each is tried until one fits
    *("AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "GIF"),
    *("ICNS", "ICO", "IM", "JPEG2000", "MSP", "PCD", "PCX", "PIXAR", "PPM", "PSD", "QOI", "SGI"),
    *("SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM"),
)
"""All that Pillow decodes by itself. EPS would start another program; BUFR, GRIB, HDF5, WMF and
MPEG need one that Pillow does not have."""

_STARTS = {
    b"version https://git-lfs": "a Git LFS pointer in place of the file: run git lfs pull",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript, which is a program",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
}
_PHOTO = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1")


@cache
def openers() -> tuple[str, ...]:
    """Those of FORMATS that this build of Pillow reads; a JPEG is opened as MPO where it is one."""
    Image.init()
    return tuple(kind for kind in FORMATS if kind in Image.OPEN)


@cache
def suffixes() -> tuple[str, ...]:
    """The endings of pictures, in lower case, with the dot."""
    known = Image.registered_extensions().items()
    return tuple(suffix for suffix, kind in known if kind in (*openers(), "MPO"))


def is_picture(name: str) -> bool:
    """Whether the name is that of a picture."""
    return name.lower().endswith(suffixes())


def opened(content: bytes) -> Image.Image:
    """The picture in a file's bytes, not decoded yet; raises ValueError, or what Pillow raises.

    Too many pixels are refused before they are decoded.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=openers())
    except UnidentifiedImageError:
        raise ValueError(f"it is {described(content)}") from None
    if (pixels := image.width * image.height) > scaled(PICTURE_PIXELS):
        raise ValueError(f"it has {too_large(pixels, scaled(PICTURE_PIXELS), 'pixels')}")
    return image


@contextmanager
def turn(image: Image.Image) -> Iterator[None]:
    """Large pictures are decoded one at a time, so that memory holds one of them."""
    large = image.width * image.height > LARGE_PICTURE_PIXELS
    with _LARGE if large else nullcontext():
        yield


def described(content: bytes) -> str:
    """What a file is that is no picture, by its first bytes: `empty`, `a web page`."""
    if not content:
        return "empty"
    start = content[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "a web page; what should be there was not downloaded"
    for magic, what in _STARTS.items():
        if content.startswith(magic):
            return what
    if any(mark in content[:32] for mark in _PHOTO):
        return "HEIC, which Pillow does not read: convert it to JPEG or PNG"
    if not any(content):
        return "nothing but zeros"
    return "no kind of picture that Pillow reads"


def passed_over(names: Iterable[str]) -> str:
    """`3 .txt, 1 without ending`: files that are no pictures, counted by ending; most first."""
    endings = Counter(PurePosixPath(n).suffix.lower() for n in names if not is_picture(n))
    return ", ".join(f"{number} {end or 'without ending'}" for end, number in endings.most_common())
