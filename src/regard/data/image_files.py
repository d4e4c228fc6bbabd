"""The pixels of an image file: which formats are read, recognized by their content, and the conversion of colours."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.file_trees import BadItem
from regard.errors import UserError, require

# Pillow logs some errors besides raising them; without a handler, Python would print these lines on standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())

HEAD = 64
"""The number of bytes of a file from which its format is recognized."""

_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "QOI")
"""The Pillow formats that are read: raster images that can be recognized by their first bytes."""

_GREY = 128

_MAGIC = (
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", rb"\xff\xd8\xff"),
    ("GIF", rb"GIF8[79]a"),
    ("BMP", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
    ("WebP", rb"RIFF....WEBP"),
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("PPM", rb"P[1-6]\s+[\d#]|P[fF]\s"),
    ("AVIF", rb"....ftyp(avif|avis)"),
    ("JPEG 2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("ICO", rb"\x00\x00\x01\x00"),
    ("QOI", rb"qoif"),
)
_MAGIC_NOT_READ = (
    ("HEIC", rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)"),
    ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("Photoshop", rb"8BPS"),
    ("PDF", rb"%PDF"),
    ("SVG", rb"\s*(<\?xml.*)?<svg"),
)
_ENDINGS = frozenset(
    [
        ".apng",
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".ico",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".jxl",
        ".pbm",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".psd",
        ".qoi",
        ".svg",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    ]
)


def image_format(head: bytes) -> str | None:
    """The format of an image file by its first bytes; None: not a format that is read."""
    return next((name for name, magic in _MAGIC if re.match(magic, head, re.DOTALL)), None)


def why_not(name: str, head: bytes) -> str | None:
    """Why a file with these first bytes cannot be read, if it seems to be an image by name or content; else None."""
    other = next((kind for kind, magic in _MAGIC_NOT_READ if re.match(magic, head, re.DOTALL)), None)
    named = _has_ending(name)
    if other is not None and (named or other in ("HEIC", "JPEG XL")):
        return f"{other} is not supported; convert it to PNG or JPEG"
    if not named:
        return None
    return "its content is not an image" if head else "the file is empty"


def looks_like_image(name: str, read: Callable[[int], bytes]) -> bool:
    """Whether a file is an image by its name, or else by its first bytes, which ``read`` gives.

    One that has only the name of an image is reported as a bad one when it is decoded. Raises BadItem: see ``read``.
    """
    if _has_ending(name):
        return True
    head = read(HEAD)
    return image_format(head) is not None or why_not(name, head) is not None


def _has_ending(name: str) -> bool:
    return name[name.rfind(".") :].lower() in _ENDINGS if "." in name else False


def open_image(content: bytes) -> np.ndarray:
    """The pixels of an image file as uint8 RGB, ``(3, H, W)``; of an animation, the first frame.

    The image is rotated as its EXIF orientation says. Grey becomes three equal colours, transparent becomes white.
    16-bit grey is scaled from 0 … 65,535, floating point from 0 … 1.

    Raises:
        BadItem: it is damaged, too large (Pillow's limit against decompression bombs), of a format that is not read,
            or the range of its values is not known.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about images above half of the limit, and about broken EXIF data
        return decode_image(content)


def read_image(path: Path) -> np.ndarray:
    """The pixels of a file, as `open_image`. Raises UserError: it cannot be read, or is no image."""
    try:
        return open_image(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except BadItem as error:
        raise UserError(f"{path}: not a usable image: {error}") from error


def decode_image(content: bytes) -> np.ndarray:
    """As `open_image`, but Pillow's warnings are shown; for threads, in which filters of warnings are not safe."""
    return _with_image(content, _first)


def decode_frames(content: bytes, size: int, *, every: int, longest: int) -> np.ndarray:
    """The frames of an animation, or the only one of another image, as `squared`: uint8 ``(frames, 3, size, size)``.

    Args:
        content: of the file.
        size: height and width.
        every: use each n-th frame.
        longest: of more frames, only the first ones are used.

    Raises:
        BadItem: see `open_image`.
    """

    def read(image: Any, images: Any) -> np.ndarray:
        frames = []
        for number in range(0, min(getattr(image, "n_frames", 1), every * longest), every):
            image.seek(number)
            frames.append(squared(_colours(image, images), size))
        return np.stack(frames)

    return _with_image(content, read)


def _first(image: Any, images: Any) -> np.ndarray:
    ops: Any = require("PIL.ImageOps", "image", "reading images")
    image.load()
    with suppress(Exception):  # broken EXIF data do not change the pixels
        image = ops.exif_transpose(image)
    return _colours(image, images)


def _with_image(content: bytes, read: Callable[[Any, Any], np.ndarray]) -> np.ndarray:
    """What ``read`` returns for an image and the module ``PIL.Image``. Raises BadItem: see `open_image`."""
    images: Any = require("PIL.Image", "image", "reading images")
    name = image_format(content[:HEAD])
    if name is None:
        raise BadItem(why_not(".png", content[:HEAD]) or "its content is not an image")
    images.init()
    try:
        image = images.open(io.BytesIO(content), formats=[known for known in _FORMATS if known in images.OPEN])
        return read(image, images)
    except BadItem:
        raise
    except images.DecompressionBombError as error:
        limit = 2 * images.MAX_IMAGE_PIXELS
        raise BadItem(f"has more than {limit:,} pixels, Pillow's limit against decompression bombs") from error
    except images.UnidentifiedImageError as error:
        raise BadItem(f"cannot be read as {name}: damaged, or of a kind that Pillow does not know") from error
    except Exception as error:  # Pillow's readers raise many kinds of exceptions
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadItem(f"cannot be read as {name}: {reason}") from error


def squared(pixels: np.ndarray, size: int) -> np.ndarray:
    """The central square of ``(3, H, W)``, scaled to ``(3, size, size)``."""
    _, height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = pixels[:, top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(cut)
    images: Any = require("PIL.Image", "image", "scaling images")
    scaled = images.fromarray(cut.transpose(1, 2, 0)).resize((size, size), images.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))


def fitted(pixels: np.ndarray, size: int) -> np.ndarray:
    """``(3, H, W)``, scaled to fit into ``(3, size, size)``, at its top left; the rest is grey."""
    _, height, width = pixels.shape
    shape = fitted_shape(height, width, size)
    result = np.full((3, size, size), _GREY, dtype=np.uint8)
    if shape != (height, width):
        images: Any = require("PIL.Image", "image", "scaling images")
        scaled = images.fromarray(pixels.transpose(1, 2, 0)).resize(shape[::-1], images.Resampling.BICUBIC)
        pixels = np.asarray(scaled).transpose(2, 0, 1)
    result[:, : shape[0], : shape[1]] = pixels
    return result


def fitted_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """The height and width of an image that is scaled so that the longer of them is ``size``.

    >>> fitted_shape(300, 400, 64)
    (48, 64)
    """
    longer = max(height, width)
    return max(1, round(height * size / longer)), max(1, round(width * size / longer))


def _colours(image: Any, images: Any) -> np.ndarray:
    """uint8 ``(3, H, W)`` of a Pillow image of any mode."""
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_grey(image)[None], 3, 0)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = images.alpha_composite(images.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def _grey(image: Any) -> np.ndarray:
    """uint8 ``(H, W)`` of an image with more than eight bits of grey."""
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # true for NaN as well
            raise BadItem(f"has floating-point values from {low:g} to {high:g}; expected 0 (black) to 1 (white)")
        return (values * 255).round().astype(np.uint8)
    if image.mode == "I" and (image.format == "TIFF" or low < 0 or high > 65535):
        raise BadItem(
            f"has signed or 32-bit integers, from {low:,.0f} to {high:,.0f}, whose range is not known; "
            "save it as 8-bit or unsigned 16-bit integers"
        )
    grey = (values / 257).round().astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 255
    return grey
