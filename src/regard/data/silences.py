"""Cuts a long recording into windows, where it is quiet."""

from __future__ import annotations

import numpy as np

from regard.data.sound_files import FRAMES_PER_SECOND

_SMOOTH = 0.3
"""Seconds over which the level is averaged: a cut is in a pause of speech, not within a word."""


def windows(values: np.ndarray, rate: int, seconds: float) -> list[tuple[int, int]]:
    """The first and last place of each window of a recording; together they cover it.

    A window is at most ``seconds`` long, and at least half as long, but for the last one; it ends at the quietest place
    of its second half.

    Args:
        values: samples, or features, of which the first of each frame is taken as its level, as in cepstra.
        rate: samples per second; features have 100 frames per second.
        seconds: the largest length of a window.

    >>> x = np.concatenate([np.ones(70), np.zeros(20), np.ones(70)])
    >>> windows(x, 10, 10.0)
    [(0, 71), (71, 160)]
    """
    per_second = rate if values.ndim == 1 else FRAMES_PER_SECOND
    longest = max(2, round(seconds * per_second))
    if len(values) <= longest:
        return [(0, len(values))]
    level = values.astype(np.float32) ** 2 if values.ndim == 1 else values[:, 0].astype(np.float32)
    size = min(max(1, round(_SMOOTH * per_second)), longest // 4 + 1)
    sums = np.concatenate([[0.0], np.cumsum(level, dtype=np.float64)])
    cuts, start = list[tuple[int, int]](), 0
    while len(values) - start > longest:
        ends = np.arange(start + longest // 2, start + longest + 1)
        before, after = np.maximum(ends - size // 2, 0), np.minimum(ends - size // 2 + size, len(values))
        end = int(ends[np.argmin((sums[after] - sums[before]) / (after - before))])
        cuts.append((start, end))
        start = end
    return [*cuts, (start, len(values))]
