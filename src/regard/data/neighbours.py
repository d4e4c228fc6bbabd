"""Recommendations by neighbours, without a neural network: items that were often chosen near those of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from regard.data.arrays import read_arrays, write_arrays
from regard.data.histories import Histories
from regard.data.progress import counted

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
_TOGETHER = 20_000
"""The number of choices whose neighbours are counted together, which limits the memory to some ten MB."""


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
        items, size = histories.items[kept], len(histories.names)
        ends_of_users = np.cumsum(lengths := np.bincount(histories.owners[kept], minlength=len(histories)))
        ahead = np.repeat(ends_of_users, lengths) - 1 - np.arange(len(items))
        behind = np.repeat(lengths, lengths) - 1 - ahead
        order, occurrences = np.argsort(items, kind="stable"), np.bincount(items, minlength=size)
        ends_of_items, first = np.cumsum(occurrences), 0
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
        with counted("counting neighbours, choices") as count:
            while first < size:
                done = int(ends_of_items[first] - occurrences[first])
                after = max(first + 1, int(np.searchsorted(ends_of_items, done + _TOGETHER, side="right")))
                places = order[done : ends_of_items[after - 1]]
                parts.append(_strongest(*_sums(items, places, ahead, behind, size), occurrences))
                count(len(places))
                first = after
        rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        bounds = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=size))])
        return cls(bounds, columns.astype(np.int32), values.astype(np.float32))

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


def _sums(
    items: np.ndarray, places: np.ndarray, ahead: np.ndarray, behind: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The items at ``places``, the items near them, and the sum of the weights of each such pair, sorted by the pair.

    Args:
        items: of all users.
        places: indices of ``items``.
        ahead: the number of items of the same user after each.
        behind: likewise before each.
        size: the number of different items.
    """
    # A key is an item, the item near it and the number of its weight: to sort keys is much faster than to sort places.
    keys, weights = [np.empty(0, np.int64)], list[float]()
    for distance in range(1, _REACH + 1):
        for room, step, weight in ((ahead, distance, 1.0), (behind, -distance, _BACKWARD)):
            near = places[room[places] >= distance]
            keys.append((items[near] * size + items[near + step]) * (2 * _REACH) + len(weights))
            weights.append(weight * distance**-0.5)
    pairs, numbers = np.divmod(np.sort(np.concatenate(keys)), 2 * _REACH)
    begins = np.diff(pairs, prepend=-1) > 0
    values = np.bincount(np.cumsum(begins) - 1, weights=np.array(weights)[numbers], minlength=int(begins.sum()))
    return *np.divmod(pairs[begins], size), values


def _strongest(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, occurrences: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The neighbours of each item that are kept, the strongest one first; an item is not its own neighbour."""
    values = values / (1.0 * occurrences[rows] * occurrences[columns]) ** _POWER
    order = np.lexsort((-values, rows))  # stable: of equal values, the order of the columns
    rows, columns, values = rows[order], columns[order], values[order]
    kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < _KEPT
    kept &= rows != columns
    return rows[kept], columns[kept], values[kept]
