"""Arrays of different lengths, one after the other in memory or in a mapped file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Arrays of different lengths, and of the same shape otherwise.

    Attributes:
        flat: ``(total, …)``: the arrays, one after the other.
        starts: int64 ``(n,)``, where each begins.
        lengths: int64 ``(n,)``, of each.

    >>> arrays = Ragged.of([np.array([1, 2]), np.array([3])])
    >>> len(arrays), arrays[0].tolist(), arrays.select(np.array([False, True]))[0].tolist()
    (2, [1, 2], [3])
    """

    flat: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, arrays: list[np.ndarray]) -> Ragged:
        """These arrays, of the same type and width."""
        lengths = np.array([len(one) for one in arrays], dtype=np.int64)
        flat = np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int16)
        return cls(flat, lengths.cumsum() - lengths, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        """One of the arrays, not copied."""
        start = self.starts[row]
        return self.flat[start : start + self.lengths[row]]

    @property
    def width(self) -> int:
        """The second dimension of each array; 0: there is none."""
        return 0 if self.flat.ndim == 1 else self.flat.shape[1]

    def select(self, rows: np.ndarray) -> Ragged:
        """Some of them: by a mask or by their numbers; ``flat`` is not copied."""
        return Ragged(self.flat, self.starts[rows], self.lengths[rows])

    def padded(self, rows: Sequence[int], least: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Some of them, with zeros after each up to the longest: ``(B, N, …)``, and their lengths ``(B,)``.

        Args:
            rows: which.
            least: shorter ones are padded to this length, which is also their length in the result.

        >>> x, lengths = Ragged.of([np.array([1, 2]), np.array([3])]).padded([1, 0])
        >>> x.tolist(), lengths.tolist()
        ([[3, 0], [1, 2]], [1, 2])
        """
        lengths = np.maximum(self.lengths[list(rows)], least)
        x = np.zeros((len(rows), int(lengths.max(initial=least)), *self.flat.shape[1:]), dtype=self.flat.dtype)
        for place, row in zip(x, rows, strict=True):
            place[: self.lengths[row]] = self[row]
        return x, lengths

    def windows(self, rows: Sequence[int], size: int) -> tuple[Ragged, np.ndarray]:
        """Windows of some of them, which overlap by about half; one that is not longer than ``size`` is one window.

        Returns:
            The windows, in the order of ``rows``, and for each the index in ``rows`` of its array, ``(windows,)``.

        >>> windows, owners = Ragged.of([np.arange(6), np.arange(2)]).windows([0, 1], 4)
        >>> [windows[row].tolist() for row in range(3)], owners.tolist()
        ([[0, 1, 2, 3], [2, 3, 4, 5], [0, 1]], [0, 0, 1])
        """
        starts, owners = [], []
        for owner, row in enumerate(rows):
            over = max(0, int(self.lengths[row]) - size)
            count = 1 + math.ceil(over / math.ceil(size / 2))
            starts.append(self.starts[row] + np.linspace(0, over, count).astype(np.int64))
            owners.append(np.full(count, owner))
        every, numbers = np.concatenate(starts), np.concatenate(owners)
        return Ragged(self.flat, every, np.minimum(self.lengths[list(rows)], size)[numbers]), numbers
