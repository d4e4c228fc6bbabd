"""Batches by length in tokens, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_POOL = 100
"""Batches' worth of examples that are sorted by length together: little padding, yet batches differ by epoch."""


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
    """Cut ``order`` into batches of at most ``tokens`` tokens, padding included."""
    found: list[list[int]] = []
    source = target = 0
    for index in order:
        wider, longer = max(source, lengths[index][0]), max(target, lengths[index][1])
        if found and (len(found[-1]) + 1) * (wider + longer) <= tokens:
            found[-1].append(index)
            source, target = wider, longer
        else:
            found.append([index])
            source, target = lengths[index]
    return found
