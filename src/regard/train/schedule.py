"""The learning rate as a pure function of where training stands."""

from __future__ import annotations

import math


def rate(step: int, progress: float, *, highest: float, warmup: int) -> float:
    """A linear rise over ``warmup`` steps, times a cosine from 1 to 0 (Loshchilov and Hutter 2017, arXiv:1608.03983).

    Args:
        step: steps taken before this one.
        progress: share of the whole training that lies behind, 0 to 1.
        highest: the rate at the top.
        warmup: steps of the rise; 0 for none.
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return highest * rise * 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, progress))))
