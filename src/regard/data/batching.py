"""Batches by length in tokens, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_POOL = 100
"""Batches' worth of examples that are sorted by length together: little padding, yet batches differ by epoch."""

_ROUND = 16
"""Batches have a multiple of so many examples, where they have that many."""


def batches(lengths: Sequence[tuple[int, int]], *, tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Group examples of like length into batches, and shuffle.

    Args:
        lengths: source and target length of each example, in tokens.
        tokens: most tokens of a batch, both sides, padding included; a longer example is a batch of its own.
        seed: the run's seed.
        epoch: counted from 0; every epoch has another order.

    Returns:
        Every example's index exactly once, batch by batch.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    if not len(order):
        return []
    mean = max(1.0, float(np.mean([sum(pair) for pair in lengths])))
    pool = max(1, int(_POOL * tokens / mean))
    found = [
        batch
        for start in range(0, len(order), pool)
        for batch in fill(sorted(order[start : start + pool].tolist(), key=lambda i: lengths[i]), lengths, tokens)
    ]
    return [found[i] for i in random.permutation(len(found))]


def fill(order: Sequence[int], lengths: Sequence[tuple[int, int]], tokens: int) -> list[list[int]]:
    """Cut ``order`` into batches of at most ``tokens`` tokens, padding included.

    A batch of more than `_ROUND` examples is cut to a multiple of it, and the rest goes to the next one: oneDNN
    compiles a matrix product anew for every shape, and batches of every size would keep it compiling.
    """
    found: list[list[int]] = []
    batch: list[int] = []
    widest = (0, 0)
    for index in order:
        wider = _widest(widest, lengths[index])
        if batch and (len(batch) + 1) * sum(wider) > tokens:
            whole = len(batch) // _ROUND * _ROUND or len(batch)
            found.append(batch[:whole])
            batch = batch[whole:]
            wider = _widest(*(lengths[i] for i in (*batch, index)))
            if batch and (len(batch) + 1) * sum(wider) > tokens:
                found.append(batch)
                batch, wider = [], lengths[index]
        batch.append(index)
        widest = wider
    return [*found, batch] if batch else found


def _widest(*lengths: tuple[int, int]) -> tuple[int, int]:
    return max(source for source, _ in lengths), max(target for _, target in lengths)
