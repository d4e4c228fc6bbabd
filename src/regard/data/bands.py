"""Limits of the settings of sounds; imports nothing, so that the command line shows its help quickly."""

from __future__ import annotations

import math

RATES = (1000, 192_000)
"""The smallest and the largest number of samples per second."""


def most_bands(rate: int) -> int:
    """The largest number of bands of which each is wider than the distance of two frequencies of the spectrum.

    >>> most_bands(8000), most_bands(16_000)
    (86, 115)
    """
    spacing = rate / 2 ** math.ceil(math.log2(round(0.025 * rate)))
    low, high, wide = (1127 * math.log1p(frequency / 700) for frequency in (20, rate / 2, 20 + spacing))
    return max(1, math.floor(2 * (high - low) / (wide - low)) - 2)
