"""Where two texts have the same characters: a feature that shows a model which parts of a context a question names."""

from __future__ import annotations

import re

import numpy as np

LONGEST = 12
"""Longer matches count as this many characters."""

FEATURES = 2 * (LONGEST + 1)
"""The number of different match features, see `match_features`."""

_WORD = re.compile(r"\w+(?:[.,]\d+)*")
"""A word, or a number with its decimals."""


def match_features(text: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """For each character of both texts, its match with the other text as a number from 0 to `FEATURES` − 1.

    That is the length of `matches`, and `LONGEST` + 1 more for a character of a word that is in the other text, too.

    Returns:
        int64 ``(len(text),)`` and ``(len(other),)``.

    >>> match_features("2.5% in Bern", "Bern?")[0].tolist()
    [0, 0, 0, 0, 0, 0, 1, 0, 17, 17, 17, 17]
    """
    ours, theirs = matches(text, other)
    shared = (LONGEST + 1) * shared_words(text, other)
    return ours + shared, theirs + (LONGEST + 1) * shared_words(other, text)


def shared_words(text: str, other: str) -> np.ndarray:
    """For each character, whether it belongs to a word that is in ``other``, too, in upper or lower case.

    Returns:
        bool ``(len(text),)``.

    >>> shared_words("in 2.5", "In 2")
    array([ True,  True, False, False, False, False])
    """
    words = {match.group().lower() for match in _WORD.finditer(other)}
    shared = np.zeros(len(text), dtype=bool)
    for match in _WORD.finditer(text):
        shared[match.start() : match.end()] = match.group().lower() in words
    return shared


def matches(text: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """For each character of both texts, the length of the longest part of its text around it that is in the other.

    Case makes no difference. Takes a step over all of ``text`` for each character of ``other``, the shorter one.

    Returns:
        int64 ``(len(text),)`` and ``(len(other),)``, from 0 to `LONGEST`.

    >>> ours, theirs = matches("in Bern", "Bern?")
    >>> ours.tolist(), theirs.tolist()
    ([0, 1, 0, 4, 4, 4, 4], [4, 4, 4, 4, 0])
    """
    ours, theirs = _folded(text), _folded(other)
    # Of the longest common part that ends at each character of the text, and at the present one of the other.
    lengths = np.zeros(len(ours) + 1, dtype=np.int64)
    ends, their_ends = np.zeros(len(ours), dtype=np.int64), np.zeros(len(theirs), dtype=np.int64)
    for at, letter in enumerate(theirs):
        lengths[1:] = (lengths[:-1] + 1) * (ours == letter)
        np.maximum(ends, lengths[1:], out=ends)
        their_ends[at] = lengths.max()
    return _covered(ends), _covered(their_ends)


def _covered(ends: np.ndarray) -> np.ndarray:
    """The length of the longest match that has each character, from the length of the longest one that ends there."""
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
