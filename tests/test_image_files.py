"""Every kind of image file, valid and not, from every source: folders, archives, Parquet and Hugging Face datasets."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_sets import BLUE, COLUMNS, RED, WAYS, encoded, members, noise, plain
from regard.data.image_files import open_image, squared
from regard.data.images import read_images
from regard.errors import UserError


def _array(values: object, kind: str = "TIFF") -> bytes:
    return encoded(Image.fromarray(np.asarray(values)), kind)


def _animation(kind: str) -> bytes:
    return encoded(plain("RGB", RED), kind, save_all=True, append_images=[plain("RGB", BLUE)])


def _png(width: int, height: int, depth: int = 8, colour: int = 2, row: bytes = b"") -> bytes:
    """A PNG file assembled here: a header without the pixels, or a bit depth that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = (b"\0" + row) * height if row else b""
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _deep(colour: int, *values: int) -> bytes:
    """A PNG file with 16 bits per channel."""
    return _png(4, 4, 16, colour, struct.pack(f">{len(values)}H", *(257 * value for value in values)) * 4)


def _transparent_palette(kind: str) -> bytes:
    image = plain("P", 1)
    image.putpalette([*RED, *BLUE])
    return encoded(image, kind, transparency=1)


WHITE, BLACK = (255, 255, 255), (0, 0, 0)


VALID: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "png": (lambda: encoded(plain("RGB", RED)), RED),
    "jpeg": (lambda: encoded(plain("RGB", RED), "JPEG", quality=100, subsampling=0), RED),
    "webp": (lambda: encoded(plain("RGB", RED), "WEBP", lossless=True), RED),
    "avif": (lambda: encoded(plain("RGB", RED), "AVIF", quality=100, subsampling="4:4:4"), RED),
    "jpeg 2000": (lambda: encoded(plain("RGB", RED), "JPEG2000"), RED),
    "bmp": (lambda: encoded(plain("RGB", RED), "BMP"), RED),
    "tiff": (lambda: encoded(plain("RGB", RED), "TIFF"), RED),
    "ppm": (lambda: encoded(plain("RGB", RED), "PPM"), RED),
    "ico": (lambda: encoded(plain("RGB", RED, (16, 16)), "ICO", sizes=[(16, 16)]), RED),
    "qoi": (lambda: encoded(plain("RGB", RED), "QOI"), RED),
    "grey": (lambda: encoded(plain("L", 77)), (77, 77, 77)),
    "one bit": (lambda: encoded(plain("1", 1)), WHITE),
    "grey with alpha, opaque": (lambda: encoded(plain("LA", (77, 255))), (77, 77, 77)),
    "grey with alpha, transparent": (lambda: encoded(plain("LA", (0, 0))), WHITE),
    "alpha, transparent": (lambda: encoded(plain("RGBA", (255, 0, 0, 0))), WHITE),
    "alpha, half": (lambda: encoded(plain("RGBA", (0, 0, 0, 128))), (127, 127, 127)),
    "palette": (lambda: encoded(plain("RGB", RED).convert("P", palette=Image.Palette.ADAPTIVE), "GIF"), RED),
    "png palette, transparent": (lambda: _transparent_palette("PNG"), WHITE),
    "gif palette, transparent": (lambda: _transparent_palette("GIF"), WHITE),
    "cmyk jpeg": (lambda: encoded(plain("CMYK", (255, 0, 0, 0)), "JPEG", quality=100), (0, 255, 255)),
    "cmyk tiff": (lambda: encoded(plain("CMYK", (0, 0, 0, 255)), "TIFF"), BLACK),
    "ycbcr tiff": (lambda: encoded(plain("YCbCr", (77, 128, 128)), "TIFF"), (77, 77, 77)),
    "lab tiff": (lambda: encoded(plain("LAB", (128, 128, 128)), "TIFF"), (120, 120, 120)),
    "16 bits png, transparent": (
        lambda: encoded(Image.fromarray(np.full((4, 4), 9, np.uint16)), "PNG", transparency=9), WHITE),
    "first frame of a gif": (lambda: _animation("GIF"), RED),
    "first frame of a png": (lambda: _animation("PNG"), RED),
    "first page of a tiff": (lambda: _animation("TIFF"), RED),
    "16 bits png": (lambda: _array(np.full((4, 4), 77 * 257, np.uint16), "PNG"), (77, 77, 77)),
    "16 bits tiff": (lambda: _array(np.full((4, 4), 77 * 257, np.uint16)), (77, 77, 77)),
    "16 bits tiff, big-endian": (lambda: _array(np.full((4, 4), 77 * 257, ">u2")), (77, 77, 77)),
    "16 bits rgb": (lambda: _deep(2, *RED), RED),
    "16 bits rgba": (lambda: _deep(6, *RED, 255), RED),
    "16 bits rgba, transparent": (lambda: _deep(6, *RED, 0), WHITE),
    "16 bits grey with alpha": (lambda: _deep(4, 77, 255), (77, 77, 77)),
    "4 bits grey": (lambda: _png(4, 4, 4, 0, b"\x55\x55"), (85, 85, 85)),
    "fax tiff": (lambda: encoded(plain("1", 1), "TIFF", compression="group4"), WHITE),
    "16 bits pgm": (lambda: b"P5 2 2 65535\n" + struct.pack(">4H", *[77 * 257] * 4), (77, 77, 77)),
    "10 bits pgm": (lambda: b"P5 2 2 1023\n" + struct.pack(">4H", *[1023] * 4), WHITE),
    "float tiff": (lambda: _array(np.full((4, 4), 0.5, np.float32)), (128, 128, 128)),
    "float tiff, white": (lambda: _array(np.ones((4, 4), np.float32)), WHITE),
    "broken exif": (lambda: encoded(plain("RGB", RED), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffnothing"), RED),
    "one pixel": (lambda: encoded(plain("RGB", RED, (1, 1))), RED),
    "1 × 500 pixels": (lambda: encoded(plain("RGB", RED, (1, 500))), RED),
    "png with trailing bytes": (lambda: encoded(plain("RGB", RED), "PNG") + b"trailing bytes", RED),
}  # fmt: skip


INVALID: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "the file is empty"),
    "text": (lambda: b"no image at all", "its content is not an image"),
    "html page": (lambda: b"<!DOCTYPE html><title>404</title>", "its content is not an image"),
    "AppleDouble": (lambda: b"\0\5\x16\7" + b"\0" * 80, "its content is not an image"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 80, "HEIC is not supported; convert it"),
    "JPEG XL": (lambda: b"\xff\x0a" + b"\0" * 80, "JPEG XL is not supported"),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG is not supported"),
    "only the signature of PNG": (lambda: b"\x89PNG\r\n\x1a\n", "cannot be read as PNG: damaged, or of a kind"),
    "only the signature of TIFF": (lambda: b"II*\0", "cannot be read as TIFF: damaged, or of a kind"),
    "truncated png": (lambda: noise("PNG")[:6000], "cannot be read as PNG: "),
    "truncated jpeg": (lambda: noise("JPEG")[:1500], "cannot be read as JPEG: image file is truncated"),
    "truncated gif": (lambda: noise("GIF")[:2000], "cannot be read as GIF: image file is truncated"),
    "truncated webp": (lambda: noise("WEBP")[:1000], "cannot be read as WebP: "),
    "truncated bmp": (lambda: noise("BMP")[:6000], "cannot be read as BMP: "),
    "truncated tiff": (lambda: noise("TIFF")[:6000], "cannot be read as TIFF: "),
    "truncated ppm": (lambda: noise("PPM")[:6000], "cannot be read as PPM: "),
    "truncated jpeg 2000": (lambda: noise("JPEG2000")[:200], "cannot be read as JPEG 2000: "),
    "truncated avif": (lambda: noise("AVIF")[:900], "cannot be read as AVIF: damaged, or of a kind"),
    "wrong checksum": (lambda: noise("PNG").replace(b"IDAT", b"IDAT\1", 1), "cannot be read as PNG: "),
    "decompression bomb": (lambda: _png(50_000, 50_000), "has more than 178,956,970 pixels"),
    "width 0, png": (lambda: _png(0, 4), "cannot be read as PNG: damaged, or of a kind"),
    "width 0, ppm": (lambda: b"P6 0 4 255\n", "cannot be read as PPM: damaged, or of a kind"),
    "float above 1": (
        lambda: _array(np.full((4, 4), 200, np.float32)), "floating-point values from 200 to 200; expected"),
    "float with NaN": (lambda: _array(np.full((4, 4), np.nan, np.float32)), "floating-point values from nan to nan"),
    "32-bit integers": (
        lambda: _array(np.full((4, 4), 70_000, np.int32)), "has signed or 32-bit integers, from 70,000"),
    "negative integers": (lambda: _array(np.full((4, 4), -7, np.int32)), "has signed or 32-bit integers, from -7"),
}  # fmt: skip


@pytest.mark.parametrize("source", WAYS)
@pytest.mark.parametrize("kind", VALID)
def test_valid_images_from_every_source(kind: str, source: str, tmp_path: Path) -> None:
    make, colour = VALID[kind]
    images = read_images(WAYS[source](members(make()), tmp_path), 4)
    assert images.names == ("blue", "red")
    assert sorted(images.labels.tolist()) == [0, 0, 1, 1, 1]
    assert images.notes == COLUMNS.get(source, ())
    special = images.pixels[4].reshape(3, -1).T  # the last one in the order of names
    assert np.abs(special - np.array(colour)).max() <= (3 if kind in ("jpeg", "avif", "cmyk jpeg", "lab tiff") else 0)
    assert len(set(images.keys)) == (2 if make() == encoded(plain("RGB", RED)) else 3)


@pytest.mark.parametrize("source", WAYS)
@pytest.mark.parametrize("kind", INVALID)
def test_invalid_images_from_every_source(kind: str, source: str, tmp_path: Path) -> None:
    content, reason = INVALID[kind][0](), INVALID[kind][1]
    path = WAYS[source](members(content), tmp_path)
    entry = "record 5" if source in ("parquet", "hf") else "red/special.png"
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    message = str(error.value)
    assert message.startswith(f"{path}: not a usable image: {path}")
    assert f"{entry} (" in message
    assert reason in message
    assert message.endswith("; replace it, or leave such images out with --data.on-bad skip")
    assert "object at 0x" not in message
    assert "\n" not in message
    images = read_images(path, 4, on_bad="skip")
    assert (images.names, images.labels.tolist()) == (("blue", "red"), [0, 0, 1, 1])
    assert images.notes[:-1] == COLUMNS.get(source, ())
    assert images.notes[-1].startswith("left out one image that is not usable: ")
    assert reason in images.notes[-1]


def test_a_photo_is_rotated_as_its_exif_orientation_says() -> None:
    image = plain("RGB", RED)
    image.paste(BLUE, (6, 0, 12, 12))  # the right half, which orientation 6 moves to the bottom
    exif = image.getexif()
    for orientation, corners in ((1, (RED, BLUE, RED, BLUE)), (6, (RED, RED, BLUE, BLUE)), (3, (BLUE, RED, BLUE, RED))):
        exif[274] = orientation
        pixels = open_image(encoded(image, "PNG", exif=exif))
        assert [tuple(pixels[:, y, x]) for y in (0, -1) for x in (0, -1)] == list(corners)


def test_the_middle_square_is_cropped() -> None:
    wide = np.zeros((3, 4, 10), dtype=np.uint8)
    wide[:, :, 3:7] = 9
    assert (squared(wide, 4) == 9).all()
    assert (squared(wide.transpose(0, 2, 1), 4) == 9).all()
    assert squared(wide, 8).shape == (3, 8, 8)
