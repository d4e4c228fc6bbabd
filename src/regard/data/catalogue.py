"""The items that a model knows: names, titles, and the words of titles."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_FREQUENT = 2
"""In how many titles a word has to be, so that the model learns it."""


@dataclass(frozen=True)
class Catalogue:
    """Items with their titles.

    Attributes:
        names: of the items, in the order of their numbers.
        titles: of the items; an empty one is not known.
        words: the words of titles that the model knows, in the order of their numbers.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], titles: Mapping[str, str]) -> Catalogue:
        """The items ``names``, with the words that are in several of their titles.

        >>> Catalogue.of(["a", "b"], {"a": "Green tea", "b": "Black tea"}).words
        ('tea',)
        """
        own = tuple(titles.get(name, "") for name in names)
        counts = Counter(word for title in own for word in set(title_words(title)))
        return cls(tuple(names), own, tuple(sorted(word for word, count in counts.items() if count >= _FREQUENT)))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Name → number."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def _word_numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def label(self, number: int) -> str:
        """The title of an item, or its name."""
        return self.titles[number] or self.names[number]

    def bag(self, titles: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the known words of ``titles``, one after the other, and where each title begins, int64."""
        known = self._word_numbers
        rows = [[known[word] for word in title_words(title) if word in known] for title in titles]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])[:-1]
        return np.array([word for row in rows for word in row], dtype=np.int64), offsets.astype(np.int64)

    def extended(self, titles: Mapping[str, str]) -> Catalogue:
        """The catalogue with new items after its own; items that it has already keep their titles."""
        new = {name: title for name, title in titles.items() if name not in self.numbers}
        return Catalogue((*self.names, *new), (*self.titles, *new.values()), self.words)

    def near(self, name: str) -> str | None:
        """The name that is most similar to ``name``; None: none is."""
        lower = {other.lower(): other for other in self.names}
        if name.lower() in lower:
            return lower[name.lower()]
        matches = difflib.get_close_matches(name, self.names, 1)
        return matches[0] if matches else None


def title_words(title: str) -> list[str]:
    """The words of a title, in lower case.

    >>> title_words("The Two Towers (1954)")
    ['the', 'two', 'towers', '1954']
    """
    return re.findall(r"\w+", title.lower())
