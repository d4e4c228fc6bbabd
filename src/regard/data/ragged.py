"""Arrays of different lengths, one after the other in memory or in a mapped file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Arrays of different lengths.

    Attributes:
        flat: ``(total,)`` or ``(total, width)``: the arrays, one after the other.
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
