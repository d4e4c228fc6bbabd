"""Cuts a long recording into windows, where it is quiet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from regard.data.sound_files import FRAMES_PER_SECOND

_SMOOTH = 0.3
"""Seconds over which the level is averaged: a cut is in a pause of speech, not within a word."""


def windows(blocks: Iterable[np.ndarray], rate: int, seconds: float) -> Iterator[tuple[int, np.ndarray]]:
    """The windows of a recording: where each begins, and its samples or features; together they cover it.

    A window is at most ``seconds`` long, and at least half as long, but for the last one; it ends at the quietest place
    of its second half. Little more than a window of the recording is held at a time.

    Args:
        blocks: the recording in one or more pieces of any length: samples, or features, of which the first of each
            frame is taken as its level, as in cepstra.
        rate: samples per second; features have 100 frames per second.
        seconds: the largest length of a window.

    >>> x = np.concatenate([np.ones(70), np.zeros(20), np.ones(70)])
    >>> [(start, len(window)) for start, window in windows([x[:100], x[100:]], 10, 10.0)]
    [(0, 71), (71, 89)]
    """
    pieces = iter(blocks)
    start, held = 0, next(pieces)
    per_second = rate if held.ndim == 1 else FRAMES_PER_SECOND
    longest = max(2, round(seconds * per_second))
    size = min(max(1, round(_SMOOTH * per_second)), longest // 4 + 1)
    for block in chain((held[:0],), pieces, (None,)):
        held = held if block is None else np.concatenate([held, block])
        # A cut depends on as much of the recording however long the blocks are.
        while len(held) >= longest + (1 if block is None else size):
            end = _quietest(held, longest, size)
            yield start, held[:end]
            start, held = start + end, held[end:]
    yield start, held


def after(blocks: Iterable[np.ndarray], first: int) -> Iterator[np.ndarray]:
    """The blocks of a recording without its ``first`` samples or frames.

    >>> [block.tolist() for block in after([np.arange(3), np.arange(3, 6)], 4)]
    [[4, 5]]
    """
    for block in blocks:
        if first < len(block):
            yield block[first:]
        first = max(0, first - len(block))


def _quietest(values: np.ndarray, longest: int, size: int) -> int:
    """The end of a window at the beginning of ``values``, by the mean level of ``size`` of them around each place."""
    level = values[: longest + size].astype(np.float32) ** 2 if values.ndim == 1 else values[: longest + size, 0]
    sums = np.concatenate([[0.0], np.cumsum(level, dtype=np.float64)])
    ends = np.arange(longest // 2, longest + 1)
    before, after = np.maximum(ends - size // 2, 0), np.minimum(ends - size // 2 + size, len(level))
    return int(ends[np.argmin((sums[after] - sums[before]) / (after - before))])
