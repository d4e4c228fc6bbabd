"""Small shapes and digits as masks of pixels, each drawn a little differently."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_FINE = 3
"""Each pixel of a mask is the majority of this many squared samples."""


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five points, inner corners at 0.42 of the outer ones."""
    part = 2 * np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + part / 2) % part - part / 2)
    x, y = 0.42 * np.cos(part / 2), 0.42 * np.sin(part / 2)
    inside: np.ndarray = np.hypot(u, v) <= y / (y * np.cos(angle) + (1 - x) * np.sin(angle))
    return inside


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda u, v: np.hypot(u, v) <= 0.95,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 0.85,
    "triangle": lambda u, v: (v <= 0.85) & (np.abs(u) <= (v + 1) * 0.55),
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) <= 0.3) & (np.maximum(np.abs(u), np.abs(v)) <= 0.95),
    "star": _star,
}
"""Name → whether points of the square from -1 to 1, to the right and down, are inside."""

DIGITS: dict[str, str] = {
    "zero": "01110 10001 10001 10001 10001 10001 01110",
    "one": "00100 01100 00100 00100 00100 00100 01110",
    "two": "01110 10001 00001 00010 00100 01000 11111",
    "three": "11110 00001 00001 01110 00001 00001 11110",
    "four": "00010 00110 01010 10010 11111 00010 00010",
    "five": "11111 10000 11110 00001 00001 10001 01110",
    "six": "00110 01000 10000 11110 10001 10001 01110",
    "seven": "11111 00001 00010 00100 01000 01000 01000",
    "eight": "01110 10001 10001 01110 10001 10001 01110",
    "nine": "01110 10001 10001 01111 00001 00010 01100",
}
"""Name → seven rows of five cells."""


def drawn(name: str, side: int, random: np.random.Generator) -> np.ndarray:
    """A shape or a digit, turned by up to 15 degrees and slanted, as the smallest boolean ``(height, width)``.

    Args:
        name: a key of `SHAPES` or `DIGITS`.
        side: about the height, in pixels.
        random: draws angle and slant.

    >>> print(drawn("cross", 9, np.random.default_rng(2)).astype(int))
    [[0 0 1 1 1 0 0 0]
     [0 0 1 1 1 0 0 0]
     [0 0 1 1 1 1 1 1]
     [1 1 1 1 1 1 1 1]
     [1 1 1 1 1 1 1 1]
     [1 1 1 1 1 1 0 0]
     [0 0 0 1 1 1 0 0]
     [0 0 0 1 1 1 0 0]]
    """
    angle, slant = random.uniform(-0.26, 0.26), random.uniform(-0.2, 0.2)
    count = int(side * 1.4)
    line = (np.arange(count * _FINE) + 0.5) / _FINE - count / 2
    y, x = np.meshgrid(line * 2 / side, line * 2 / side, indexing="ij")
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    u = u + slant * v
    inside = SHAPES[name](u, v) if name in SHAPES else _digit(DIGITS[name], u, v)
    mask: np.ndarray = inside.reshape(count, _FINE, count, _FINE).mean((1, 3)) >= 0.5
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cut: np.ndarray = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut


def _digit(cells: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether points are in a filled cell of a glyph, which is as high as the square and 0.75 as wide."""
    font = np.array([[cell == "1" for cell in row] for row in cells.split()])
    column, row = np.floor((u / 0.75 + 1) * 2.5).astype(int), np.floor((v + 1) * 3.5).astype(int)
    within = (column >= 0) & (column < 5) & (row >= 0) & (row < 7)
    filled: np.ndarray = within & font[row.clip(0, 6), column.clip(0, 4)]
    return filled
