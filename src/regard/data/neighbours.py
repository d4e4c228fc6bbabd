"""Recommendations by neighbours, without a neural network: items that were often chosen near those of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from regard.data.arrays import read_arrays, write_arrays
from regard.data.histories import Histories

_REACH = 30
"""The largest distance in a history of two items that count as neighbours."""
_BACKWARD = 0.5
"""The weight of an item that came before another, relative to one that came after it."""
_FORGET = 0.9
"""The weight of an item of the history, relative to the one after it."""
_POWER = 0.4
"""By which power of their numbers of occurrences the weights of two items are divided; 0.5 is the cosine."""
_KEPT = 200
"""The number of neighbours that are kept of each item."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The neighbours of each item, in flat arrays.

    The similarity of item b to item a is a sum over the places at which both are in the same history: ``1 / √distance``
    if b came after a, half of it if b came before. The sum is divided by a power of the number of times that each item
    occurs; with the power 0.5 it would be like the cosine similarity (Sarwar et al. 2001). The score of an item is the
    sum of its similarities to the items of a history, where later items have larger weights.

    Attributes:
        bounds: item i has the neighbours from ``bounds[i]`` to ``bounds[i + 1]``, int64 ``(items + 1,)``.
        others: the neighbours of all items, int32 ``(n,)``.
        weights: their similarities, float32 ``(n,)``.
    """

    bounds: np.ndarray
    others: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, histories: Histories, ends: np.ndarray | None = None) -> Neighbours:
        """Count neighbours.

        Args:
            histories: of all users.
            ends: use user u's choices before ``ends[u]`` only, ``(users,)``; None: all.
        """
        kept = np.arange(len(histories.items)) < (histories.bounds[1:] if ends is None else ends)[histories.owners]
        items, owners, size = histories.items[kept], histories.owners[kept], len(histories.names)
        counts = np.maximum(np.bincount(items, minlength=size), 1.0)
        keys: np.ndarray = np.empty(0, np.int64)
        values: np.ndarray = np.empty(0)
        for distance in range(1, _REACH + 1):
            same = owners[distance:] == owners[:-distance]
            first, second = items[:-distance][same], items[distance:][same]
            new = np.concatenate([keys, first * size + second, second * size + first])
            weights = np.repeat([distance**-0.5, _BACKWARD * distance**-0.5], len(first))
            keys, place = np.unique(new, return_inverse=True)
            values = np.bincount(place, weights=np.concatenate([values, weights]), minlength=len(keys))
        rows, columns = np.divmod(keys, size)
        values /= (counts[rows] * counts[columns]) ** _POWER
        order = np.lexsort((columns, -values, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        strongest = np.arange(len(rows)) - np.searchsorted(rows, np.arange(size))[rows] < _KEPT
        strongest &= rows != columns
        bounds = np.concatenate([[0], np.cumsum(np.bincount(rows[strongest], minlength=size))])
        return cls(bounds, columns[strongest].astype(np.int32), values[strongest].astype(np.float32))

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """The score of every item for each history, float32 ``(n, items)``; an item number of −1 is passed over."""
        result = np.zeros((len(histories), len(self.bounds) - 1), dtype=np.float32)
        for row, history in zip(result, histories, strict=True):
            for age, item in enumerate(history[::-1][:_KEPT]):
                if item >= 0:
                    places = slice(self.bounds[item], self.bounds[item + 1])
                    row[self.others[places]] += self.weights[places] * np.float32(_FORGET**age)
        return result

    def save(self, path: Path) -> None:
        """Write them to a safetensors file."""
        write_arrays(path, vars(self))

    @classmethod
    def load(cls, path: Path) -> Neighbours:
        """Read what `save` wrote. Raises UserError: it is missing or damaged."""
        return cls(*read_arrays(path, (part.name for part in fields(cls)), "a file of neighbours"))
