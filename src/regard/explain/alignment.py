"""What each piece of a translation attended to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Alignment:
    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: np.ndarray
