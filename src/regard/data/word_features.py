"""Words of a text, and the features of a word from which its embedding is made: itself, and parts of its spelling."""

from __future__ import annotations

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from regard.errors import require

Spans = list[tuple[int, int]]
"""Where each word starts and ends."""

_SIZES = (3, 4, 5)
_MOST = 40
"""The largest number of features of a word; the rest of a longer word is not used."""


def split_words(text: str) -> Spans:
    """Where the words and punctuation marks of a text start and end, by Unicode's rules (UAX 29).

    In scripts without spaces between words, such as Chinese, most words are single characters.

    Raises:
        UserError: the package regex is not installed.

    >>> text = "It isn't 3.5 km."
    >>> [text[start:end] for start, end in split_words(text)]
    ['It', "isn't", '3.5', 'km', '.']
    """
    regex: Any = require("regex", "text", "finding the words of a text")
    ends = [match.start() for match in regex.finditer(r"(?wV1)\b", text)]
    bounds = sorted({0, *ends, len(text)})
    return [(start, end) for start, end in itertools.pairwise(bounds) if not text[start:end].isspace()]


def words_of(text: str) -> list[str]:
    """The words and punctuation marks of a text."""
    return [text[start:end] for start, end in split_words(text)]


@dataclass(frozen=True)
class Features:
    """Numbers the features of words.

    A word has its own number if it is in the vocabulary, and otherwise that of unknown words; and the numbers of its
    parts of 3 to 5 characters (Bojanowski et al. 2017, arXiv:1607.04606) and of its shape, which has its capital
    letters and digits. The parts and the shapes share ``buckets`` numbers by a hash function, CRC-32.

    Attributes:
        vocabulary: known words, in lower case.
        buckets: the number of numbers for parts of words; 0: words have no parts.

    >>> features = Features(("cat",), buckets=1000)
    >>> features.of("cat")[0], features.of("cats")[0], len(features.of("cats"))
    (2, 1, 11)
    """

    vocabulary: tuple[str, ...]
    buckets: int

    @property
    def count(self) -> int:
        """The number of features; 0 is padding, and 1 unknown words."""
        return 2 + len(self.vocabulary) + self.buckets

    def of(self, word: str) -> tuple[int, ...]:
        """The numbers of a word's features, its own first."""
        known = self._cache.get(word)
        if known is None:
            known = self._cache[word] = self._compute(word)
        return known

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: 2 + at for at, word in enumerate(self.vocabulary)}

    @cached_property
    def _cache(self) -> dict[str, tuple[int, ...]]:
        return {}

    def _compute(self, word: str) -> tuple[int, ...]:
        lower = word.lower()
        own = self._numbers.get(lower, 1)
        if not self.buckets:
            return (own,)
        first = 2 + len(self.vocabulary)
        marked = f"<{lower}>"
        parts = [marked[at : at + size] for size in _SIZES for at in range(len(marked) - size + 1)]
        hashes = (zlib.crc32(part.encode()) for part in (f"shape {shape(word)}", *parts))
        return (own, *(first + number % self.buckets for number in hashes))[:_MOST]


def shape(word: str) -> str:
    """The capital letters, small letters and digits of a word, each run of them once.

    >>> shape("iPhone12"), shape("FREE"), shape("Free"), shape("£5")
    ('xXx0', 'X', 'Xx', '£0')
    """
    kinds = ("X" if letter.isupper() else "x" if letter.isalpha() else "0" if letter.isdigit() else letter
             for letter in word)  # fmt: skip
    return re.sub(r"(.)\1+", r"\1", "".join(kinds))


def vocabulary(texts: Iterable[Sequence[str]], *, size: int, least: int) -> tuple[str, ...]:
    """The ``size`` most frequent words of ``texts``, in lower case, that occur ``least`` times or more.

    >>> vocabulary([["A", "cat"], ["a", "dog"]], size=10, least=2)
    ('a',)
    """
    counts = Counter(word.lower() for words in texts for word in words)
    return tuple(word for word, count in counts.most_common(size) if count >= least)
