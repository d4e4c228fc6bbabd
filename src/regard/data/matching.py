"""Where two texts have the same characters: a feature that shows a model which parts of a context a question names."""

from __future__ import annotations

import numpy as np

LONGEST = 12
"""Longer matches count as this many characters."""


def matches(text: str, other: str) -> np.ndarray:
    """For each character of ``text``, the length of the longest part of it with that character that is in ``other``.

    Case makes no difference. Takes time proportional to the product of the lengths.

    Returns:
        int64 ``(len(text),)``, from 0 to `LONGEST`.

    >>> matches("in Bern", "Bern?").tolist()
    [0, 1, 0, 4, 4, 4, 4]
    """
    ours, theirs = _folded(text), _folded(other)
    lengths = np.zeros(len(ours) + 1, dtype=np.int64)  # of the match that ends before each place and in theirs at `at`
    ends = np.zeros(len(ours), dtype=np.int64)
    for letter in theirs:
        lengths[1:] = np.where(ours == letter, lengths[:-1] + 1, 0)
        np.maximum(ends, lengths[1:], out=ends)
    ends = np.minimum(ends, LONGEST)
    covered = ends.copy()
    for back in range(1, min(LONGEST, len(ends))):
        later = ends[back:]
        np.maximum(covered[:-back], np.where(later > back, later, 0), out=covered[:-back])
    return covered


def _folded(text: str) -> np.ndarray:
    """The characters in lower case as numbers, one for each character of ``text``."""
    lower = text.lower()
    if len(lower) != len(text):
        lower = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    return np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
