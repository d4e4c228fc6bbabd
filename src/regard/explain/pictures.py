"""Images as addresses that hold the image itself, for pages: PNG and SVG, written without a further package."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

_LONGEST = 640
"""The longest side of an image in a page, in pixels."""


def png(pixels: np.ndarray, longest: int = _LONGEST) -> str:
    """An image as ``data:image/png;base64,…``; a larger one is reduced by a whole number, to means of its pixels.

    Args:
        pixels: uint8 ``(3, H, W)``, or ``(H, W)`` in grey.
        longest: the longest side that an image keeps.

    >>> png(np.zeros((1, 2), np.uint8))[:22]
    'data:image/png;base64,'
    """
    colours = 2 if pixels.ndim == 3 else 0
    step = -(-max(pixels.shape[-2:]) // longest)
    if step > 1:
        pixels = _reduced(_reduced(pixels, -1, step), -2, step).round().astype(np.uint8)
    height, width = pixels.shape[-2:]
    image = pixels.reshape(-1, height, width).transpose(1, 2, 0)
    # Each pixel less the one to its left, PNG's filter 1, which compresses better.
    rows = np.diff(image, axis=1, prepend=np.zeros_like(image[:, :1])).reshape(height, -1)
    filtered = np.concatenate([np.ones((height, 1), np.uint8), rows], 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    content = b"".join(
        _chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(filtered)), (b"IEND", b""))
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode()


def spectrogram(features: np.ndarray) -> str:
    """The features of a sound ``(frames, bands)`` as an image in grey: time to the right, the lowest band below."""
    low, high = np.percentile(features, (5, 99.5))
    levels = (features.T[::-1] - low) / max(high - low, 1e-6)
    return png((255 * levels.clip(0, 1)).round().astype(np.uint8), longest=4 * _LONGEST)


def skeleton(joints: np.ndarray, bones: Sequence[tuple[int, int]]) -> str:
    """A pose as ``data:image/svg+xml;base64,…``: lines from joint to joint on white.

    Args:
        joints: ``(joints, 2)``, from 0 to 1, y downwards.
        bones: the numbers of the two joints of each.
    """
    side = 100
    ends = (side * joints).round(1)
    path = "".join(f"M{ends[one][0]:g},{ends[one][1]:g}L{ends[two][0]:g},{ends[two][1]:g}" for one, two in bones)
    path += "".join(f"M{x:g},{y:g}h0" for x, y in ends)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * side}" height="{2 * side}" viewBox="0 0 {side} {side}">'
        f'<rect width="{side}" height="{side}" fill="#fff"/>'
        f'<path d="{path}" fill="none" stroke="#5b6673" stroke-width="1.5" stroke-linecap="round"/></svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _reduced(pixels: np.ndarray, axis: int, step: int) -> np.ndarray:
    """Means of ``step`` pixels along an axis; the last one may be of fewer."""
    starts = np.arange(0, pixels.shape[axis], step)
    counts = np.diff(starts, append=pixels.shape[axis])
    sums = np.add.reduceat(pixels.astype(np.float64), starts, axis)
    means: np.ndarray = sums / (counts if axis == -1 else counts[:, None])
    return means


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
