"""The pixels of a set of images, in memory or in a mapped file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Some of the images of a mapped file; none is read before it is used.

    Attributes:
        mapped: uint8 ``(n, 3, size, size)``, all images of the file.
        rows: int64 ``(m,)``, the indices of these images.

    >>> images = Rows(np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2), np.array([1]))
    >>> len(images), images[[0]][0, 0].tolist()
    (1, [[12, 13], [14, 15]])
    """

    mapped: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        """The images at these indices (a slice, a list or an array), a copy in memory."""
        images: np.ndarray = self.mapped[self.rows[index]]
        return images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of these images in memory."""
        return np.asarray(self[:], dtype=dtype)


Pixels = np.ndarray | Rows
"""uint8 ``(n, 3, size, size)``, in memory or in a mapped file."""


def select(pixels: Pixels, rows: np.ndarray) -> Pixels:
    """Some images, by a mask or by their numbers; those of a mapped file stay in it."""
    if isinstance(pixels, Rows):
        return Rows(pixels.mapped, pixels.rows[rows])
    return np.asarray(pixels[rows])
