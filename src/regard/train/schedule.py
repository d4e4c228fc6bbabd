"""The learning rate as a pure function of the progress of training."""

from __future__ import annotations

import math
from collections.abc import Callable

_WARMUP_SHARE = 0.05
_WARMUP_STEPS = 200
"""The default warm-up: this share of the training, and this many steps at most."""

SHAPES: dict[str, Callable[[int, float, int], float]] = {
    "cosine": lambda step, progress, warmup: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "linear": lambda step, progress, warmup: 1.0 - progress,
    "constant": lambda step, progress, warmup: 1.0,
    "inverse-sqrt": lambda step, progress, warmup: math.sqrt(max(1, warmup) / max(1, warmup, step + 1)),
}
"""The fraction of the peak rate after the warm-up: Loshchilov and Hutter 2017 (arXiv:1608.03983) for the cosine,
Vaswani et al. 2017 (arXiv:1706.03762) for the inverse root."""


def warmup_factor(step: int, progress: float, warmup: int | None) -> float:
    """The factor by which the warm-up lowers the learning rate: rising linearly to 1 over ``warmup`` steps.

    By default (None) it rises over the first twentieth of the training, in at most 200 steps.
    """
    if warmup is None:
        return min(1.0, max((step + 1) / _WARMUP_STEPS, progress / _WARMUP_SHARE))
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def rate(
    step: int,
    progress: float,
    *,
    highest: float,
    warmup: int | None,
    schedule: str = "cosine",
    warm: float = 0.0,
) -> float:
    """The learning rate: the factor of the warm-up, times one of `SHAPES`.

    Args:
        step: steps taken before this one.
        progress: fraction of the whole training that is done, 0 to 1.
        highest: the peak rate.
        warmup: steps of the warm-up; 0 for none; None for the default, see `warmup_factor`.
        schedule: the name of the shape.
        warm: the smallest factor of the warm-up; for a run that was lengthened, the one that it had reached.
    """
    factor = max(warm, warmup_factor(step, progress, warmup))
    steps = _WARMUP_STEPS if warmup is None else warmup
    return highest * factor * SHAPES[schedule](step, min(1.0, max(0.0, progress)), steps)
