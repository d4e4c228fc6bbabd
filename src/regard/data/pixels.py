"""The pixels of a set of images, in memory or in a mapped file, and work in several threads."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")


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


def select(pixels: Pixels, mask: np.ndarray) -> Pixels:
    """The images where ``mask`` is True; those of a mapped file stay in it."""
    if isinstance(pixels, Rows):
        return Rows(pixels.mapped, pixels.rows[mask])
    return np.asarray(pixels[mask])


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """``function`` of each item, in order, computed by one thread per core, which are at most some items ahead.

    Warnings are not shown: which filters are in force is not known in a thread.

    >>> list(in_threads(abs, [-1, 2]))
    [1, 2]
    """
    threads = os.cpu_count() or 1
    pending = deque[Future[Result]]()
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 4 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
