"""Batches of examples of similar length, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_POOL = 100
"""The number of batches whose examples are sorted by length together: little padding, other batches each epoch."""

_ROUND = 16
"""Batches with at least this many examples have a multiple of it."""


def batches(lengths: Sequence[tuple[int, int]], *, tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Group examples of similar length into batches, and shuffle.

    Args:
        lengths: source and target length of each example, in tokens.
        tokens: the largest number of tokens of a batch, both sides, including padding; a longer example is a separate
            batch.
        seed: the run's seed.
        epoch: from 0; every epoch has another order.

    Returns:
        Every example's index exactly once, batch by batch.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    if not len(order):
        return []
    mean = max(1.0, float(np.mean([sum(pair) for pair in lengths])))
    pool = max(1, int(_POOL * tokens / mean))
    grouped = [
        batch
        for start in range(0, len(order), pool)
        for batch in fill(sorted(order[start : start + pool].tolist(), key=lambda i: lengths[i]), lengths, tokens)
    ]
    return [grouped[i] for i in random.permutation(len(grouped))]


def fill(order: Sequence[int], lengths: Sequence[tuple[int, int]], tokens: int) -> list[list[int]]:
    """Split ``order`` into batches of at most ``tokens`` tokens, including padding.

    A batch of more than `_ROUND` examples is cut to a multiple of it, and the rest goes to the next one: oneDNN
    compiles a matrix product for every new shape, and batches of every size would make it compile all the time.
    """
    grouped: list[list[int]] = []
    batch: list[int] = []
    widest = (0, 0)
    for index in order:
        wider = _widest(widest, lengths[index])
        if batch and (len(batch) + 1) * sum(wider) > tokens:
            count = len(batch) // _ROUND * _ROUND or len(batch)
            grouped.append(batch[:count])
            batch = batch[count:]
            wider = _widest(*(lengths[i] for i in (*batch, index)))
            if batch and (len(batch) + 1) * sum(wider) > tokens:
                grouped.append(batch)
                batch, wider = [], lengths[index]
        batch.append(index)
        widest = wider
    return [*grouped, batch] if batch else grouped


def _widest(*lengths: tuple[int, int]) -> tuple[int, int]:
    return max(source for source, _ in lengths), max(target for _, target in lengths)
