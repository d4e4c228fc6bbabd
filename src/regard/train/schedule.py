"""The learning rate as a pure function of the progress of training."""

from __future__ import annotations

import math
from collections.abc import Callable

from regard.train.defaults import WARMUP_STEPS, warmup_share

SHAPES: dict[str, Callable[[int, float, int], float]] = {
    "cosine": lambda step, progress, warmup: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "linear": lambda step, progress, warmup: 1.0 - progress,
    "constant": lambda step, progress, warmup: 1.0,
    "inverse-sqrt": lambda step, progress, warmup: math.sqrt(max(1, warmup) / max(1, warmup, step + 1)),
}
"""The fraction of the peak rate after the warm-up: Loshchilov and Hutter 2017 (arXiv:1608.03983) for the cosine,
Vaswani et al. 2017 (arXiv:1706.03762) for the inverse root."""


def rate(step: int, progress: float, *, highest: float, warmup: int | None, schedule: str = "cosine") -> float:
    """The learning rate: a linear warm-up over ``warmup`` steps, times one of `SHAPES`.

    Args:
        step: steps taken before this one.
        progress: fraction of the whole training that is done, 0 to 1.
        highest: the peak rate.
        warmup: steps of the warm-up; 0 for none; None for the default, see `regard.train.defaults.warmup_share`.
        schedule: the name of the shape.
    """
    if warmup is None:
        rise, warmup = warmup_share(step, progress), WARMUP_STEPS
    else:
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return highest * rise * SHAPES[schedule](step, min(1.0, max(0.0, progress)), warmup)
