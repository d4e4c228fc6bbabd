"""Batches of examples of similar length, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from regard.data.slices import Slices

_POOL = 100
"""The number of batches whose examples are sorted by length together: little padding, other batches each epoch."""

_ROUND = 16
"""Batches with at least this many examples have a multiple of it."""


class Batches(Slices):
    """Batches of examples: ``values`` are the numbers of the examples, and each slice of them is a batch.

    >>> batches = Batches(np.array([5, 3, 4]), np.array([1, 0]), np.array([3, 1]))
    >>> list(batches), batches[1:]
    ([[3, 4], [5]], [[5]])
    """


def batches(lengths: np.ndarray | Sequence[tuple[int, int]], *, tokens: int, seed: int, epoch: int) -> Batches:
    """Group examples of similar length into batches, and shuffle.

    Args:
        lengths: ``(n, 2)``, source and target length of each example, in tokens.
        tokens: the largest number of tokens of a batch, both sides, including padding; a longer example is a separate
            batch.
        seed: the run's seed.
        epoch: from 0; every epoch has another order.

    Returns:
        Every example's index exactly once, batch by batch.

    >>> sorted(batches([(1, 1), (9, 9), (1, 2)], tokens=8, seed=0, epoch=0))
    [[0, 2], [1]]
    """
    random = np.random.default_rng([seed, epoch])
    lengths = np.asarray(lengths).reshape(-1, 2)
    order = random.permutation(len(lengths))
    mean = max(1.0, float(np.mean(lengths.sum(1)))) if len(order) else 1.0
    pool = max(1, int(_POOL * tokens / mean))
    ends = []
    for start in range(0, len(order), pool):
        chosen = order[start : start + pool]
        chosen = chosen[np.lexsort(lengths[chosen].T[::-1])]  # by source length, then by target length
        order[start : start + pool] = chosen
        ends += [start + end for end in _ends(lengths[chosen].tolist(), tokens)]
    bounds = np.array([0, *ends], dtype=np.int64)
    shuffled = random.permutation(len(ends)) if len(ends) else bounds[:-1]
    return Batches(order, bounds[shuffled], bounds[shuffled + 1])


def fill(order: Sequence[int], lengths: np.ndarray | Sequence[tuple[int, int]], tokens: int) -> list[list[int]]:
    """Split ``order`` into batches of at most ``tokens`` tokens, including padding.

    A batch of more than `_ROUND` examples is cut to a multiple of it, and the rest goes to the next one: oneDNN
    compiles a matrix product for every new shape, and batches of every size would make it compile all the time.

    >>> fill([2, 0, 1], [(1, 1), (9, 9), (1, 2)], 8)
    [[2, 0], [1]]
    """
    bounds = [0, *_ends([tuple(lengths[index]) for index in order], tokens)]
    return [list(order[start:end]) for start, end in itertools.pairwise(bounds)]


def _ends(lengths: Sequence[Sequence[int]], tokens: int) -> list[int]:
    """Where each batch ends; see `fill`."""
    ends: list[int] = []
    start = source = target = 0  # of the present batch: its first example, and its largest lengths
    for at, (one, other) in enumerate(lengths):
        source, target = max(source, one), max(target, other)
        if at > start and (at - start + 1) * (source + target) > tokens:
            start += (at - start) // _ROUND * _ROUND or at - start
            ends.append(start)
            source, target = map(max, zip(*lengths[start : at + 1], strict=True))
            if at > start and (at - start + 1) * (source + target) > tokens:
                start, source, target = at, one, other
                ends.append(start)
    return [*ends, len(lengths)] if len(lengths) else ends
