"""Pairs of texts, kept as flat bytes as `Documents` are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from regard.data.corpus import Documents


@dataclass(frozen=True)
class Pairs(Sequence[tuple[str, str]]):
    """Source and target texts.

    >>> pairs = Pairs.of([("a", "b"), ("c", "d")])
    >>> pairs[1], len(pairs), list(pairs.select(np.array([1])))
    (('c', 'd'), 2, [('c', 'd')])
    """

    source: Documents
    target: Documents

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Pairs:
        """Pairs in memory."""
        pairs = list(pairs)
        return cls(Documents.of(source for source, _ in pairs), Documents.of(target for _, target in pairs))

    @classmethod
    def alternating(cls, documents: Documents) -> Pairs:
        """From source and target texts by turns."""
        return cls(documents[::2], documents[1::2])

    def select(self, rows: np.ndarray) -> Pairs:
        """The pairs with these numbers, or for which this mask is True."""
        return Pairs(self.source.select(rows), self.target.select(rows))

    def __len__(self) -> int:
        return len(self.source)

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> Pairs: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | Pairs:
        if isinstance(index, slice):
            return Pairs(self.source[index], self.target[index])
        return self.source[index], self.target[index]
