"""Lists of integers as slices of one flat array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np


@dataclass(frozen=True, eq=False)
class Slices(Sequence[list[int]]):
    """Slices of a flat array of integers, as a sequence of lists: millions of them take little memory.

    Attributes:
        values: integers ``(n,)``.
        starts: int64 ``(count,)``, where each slice begins in ``values``.
        ends: int64 ``(count,)``, where it ends.

    >>> slices = Slices(np.array([5, 3, 4]), np.array([1, 0]), np.array([3, 1]))
    >>> list(slices), slices[1:], slices == [[3, 4], [5]]
    ([[3, 4], [5]], [[5]], True)
    """

    values: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[at] for at in range(len(self))[index]]
        row: list[int] = self.values[self.starts[index] : self.ends[index]].tolist()
        return row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
