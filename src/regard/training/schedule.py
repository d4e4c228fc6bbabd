"""The learning rate: its peak, times the factor of the warm-up, times the factor of the schedule.

Both factors are pure functions of the progress of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_WARMUP_SHARE = 0.05
_WARMUP_STEPS = 200
"""The default warm-up: this share of the training, but at most this many steps."""

SHAPES: dict[str, Callable[[int, float, int], float]] = {
    "cosine": lambda step, progress, warmup: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "linear": lambda step, progress, warmup: 1.0 - progress,
    "constant": lambda step, progress, warmup: 1.0,
    "inverse-sqrt": lambda step, progress, warmup: math.sqrt(max(1, warmup) / max(1, warmup, step + 1)),
}
"""The factor of each schedule: Loshchilov and Hutter 2017 (arXiv:1608.03983) for the cosine, Vaswani et al. 2017
(arXiv:1706.03762) for the inverse square root."""


def warmup_factor(step: int, progress: float, warmup: int | None) -> float:
    """The factor of the warm-up, which rises linearly to 1.

    Args:
        step: steps taken before this one.
        progress: the fraction of the training that is done, 0 to 1.
        warmup: steps of the warm-up; 0: none; None: a twentieth of the training, at most 200 steps.
    """
    if warmup is None:
        return min(1.0, max((step + 1) / _WARMUP_STEPS, progress / _WARMUP_SHARE))
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def schedule_factor(step: int, progress: float, warmup: int | None, schedule: str) -> float:
    """The factor of the schedule, one of `SHAPES`; the other arguments are those of `warmup_factor`."""
    steps = _WARMUP_STEPS if warmup is None else warmup
    return SHAPES[schedule](step, min(1.0, max(0.0, progress)), steps)
