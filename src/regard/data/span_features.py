"""Features of the words of a context for a linear model of answers: hashed combinations of words and of where they are.

Words are compared by their first letters, so that forms of a word count as the same. A word of the context is described
by itself, its neighbours, punctuation beside it, how far the nearest word of the question is, and how rare a word of
the question its sentence has.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from regard.data.questions import Span

BUCKETS = 1 << 20
"""The number of different features; feature 0 is padding."""

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_ENDS = frozenset(".!?。！？")
_SAME = 4
"""Words with the same first letters, this many, are forms of one."""
_ASKED = 3
"""The number of words of a question that are combined with each word within an answer, the rarest ones."""
_COMMON = 0.25
"""Words that are in a larger share of the contexts tell nothing about where an answer is."""
_FAR, _NOWHERE = 9, 10


class Featured(NamedTuple):
    """A question about a context in features, int64 but for ``edge``.

    Attributes:
        starts: where each word starts in the context, ``(n,)``.
        ends: where it ends.
        first: features of a word as the first one of an answer, ``(n, f)``.
        last: as the last one, ``(n, f)``.
        inside: as one within an answer, ``(n, f)``.
        absent: features of "no answer", ``(m,)``.
        edge: whether an answer can start or end with a word, bool ``(n,)``: punctuation cannot.
    """

    starts: np.ndarray
    ends: np.ndarray
    first: np.ndarray
    last: np.ndarray
    inside: np.ndarray
    absent: np.ndarray
    edge: np.ndarray


class Rarity:
    """How rare words are: the negative logarithm of the share of contexts that have a form of a word."""

    def __init__(self, counts: np.ndarray, contexts: int):
        self.counts, self.contexts = counts, contexts

    @classmethod
    def of(cls, contexts: Iterable[str]) -> Rarity:
        """That of words in these contexts."""
        counts, number = np.zeros(BUCKETS, dtype=np.int32), 0
        for context in contexts:
            counts[list({_number(word[:_SAME]) for word in _words(context)[0]})] += 1
            number += 1
        return cls(counts, number)

    def __call__(self, stem: int) -> float:
        """That of a form of a word, by the number of the letters that its forms share."""
        return float(np.log((self.contexts + 1) / (self.counts[stem] + 1)))


def featured(context: str, question: str, rarity: Rarity) -> Featured:
    """The features of a question about a context.

    >>> made = featured("Good food. Bad beds!", "How is the food?", Rarity.of(["Good food.", "Bad beds!"]))
    >>> made.starts.tolist(), made.first.shape, made.inside.shape
    ([0, 5, 9, 11, 15, 19], (6, 12), (6, 9))
    """
    words, starts, ends = _words(context)
    asked, _, _ = _words(question)
    stems = [_number(word[:_SAME]) for word in words]
    rare = {_number(word[:_SAME]): word for word in asked if word[0].isalnum()}
    rare = {stem: word for stem, word in rare.items() if rarity(stem) > -np.log(_COMMON)}
    hits = np.array([stem in rare for stem in stems], dtype=bool)
    sentence = np.cumsum([0, *(word in _ENDS for word in words)])[:-1]
    strength = np.zeros(len(words) + 1)
    np.maximum.at(strength, sentence[hits], [rarity(stem) for stem, hit in zip(stems, hits, strict=True) if hit])
    match = np.where(strength > 3, 2, strength > 0)[sentence]  # 0: none, 1: a usual word, 2: a rare one
    distance, is_first = _distances(hits, sentence)
    number = np.array([_number(word) for word in words], dtype=np.int64)
    usual = np.array([rarity(stem) <= -np.log(_COMMON) for stem in stems], dtype=np.int64)
    mark = np.array([not word[0].isalnum() for word in words], dtype=np.int64)
    sort = np.where(mark, 1 + np.array([word in _ENDS for word in words], dtype=np.int64), 3 * usual)
    before, after, sort_before, sort_after = _shift(number, 1), _shift(number, -1), _shift(sort, 1), _shift(sort, -1)
    opening = _number(" ".join(asked[:2]))
    edges = [
        (number,), (before,), (after,), (match, number), (distance, is_first), (number, after), (before, number),
        (np.minimum(sentence, 6), match),
    ]  # fmt: skip
    first, last = (
        [*edges, (distance, beside), (match, beside), (beside, number), (np.full_like(number, opening), beside, match)]
        for beside in (sort_before, sort_after)
    )
    inside = [(number,), (match,), (hits, match), (sort,), (sort, match), (distance,)]
    order = sorted(rare, key=lambda stem: -rarity(stem))[:_ASKED]
    inside += [(np.full_like(number, stem), number) for stem in order]
    columns = [_columns(side, of_side) for side, of_side in enumerate((first, last, inside))]
    padded = np.pad(columns[2], ((0, 0), (0, _ASKED - len(order))))
    near = dict.fromkeys(word for word, close in zip(words, match > 0, strict=True) if close)
    facts = [
        ("found", int(sum(stem in stems for stem in rare)), len(rare)), ("strength", int(2 * strength.max())),
        ("hits", min(6, int(hits.sum()))), ("length", int(3 * np.log(len(words) + 1))), ("opening", opening),
        *(("asked", word) for word in asked), *(("pair", *pair) for pair in itertools.pairwise(asked)),
        *(("rare", word, stem in stems) for stem, word in rare.items()), *(("near", word) for word in near),
    ]  # fmt: skip
    absent = np.array([_number(str(fact)) for fact in facts], dtype=np.int64)
    return Featured(starts, ends, columns[0], columns[1], padded, absent, mark == 0)


def trimmed(context: str, span: Span) -> Span:
    """A span of characters without white space and punctuation at its edges, unless it has nothing else.

    >>> trimmed("Good food!", (5, 10))
    (5, 9)
    """
    letters = [at for at in range(*span) if context[at].isalnum()]
    return (letters[0], letters[-1] + 1) if letters else span


def _words(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The words of a text in lower case, and where each starts and ends; punctuation marks are words."""
    matches = list(_WORD.finditer(text))
    places = np.array([match.span() for match in matches], dtype=np.int64).reshape(-1, 2)
    return [match.group().lower() for match in matches], places[:, 0], places[:, 1]


def _number(text: str) -> int:
    return 1 + zlib.crc32(text.encode()) % (BUCKETS - 1)


def _shift(values: np.ndarray, by: int) -> np.ndarray:
    """The values of the words before (1) or after (-1); beyond the text, that of the end of a sentence, 2."""
    shifted = np.full_like(values, 2)
    if by > 0:
        shifted[1:] = values[:-1]
    else:
        shifted[:-1] = values[1:]
    return shifted


def _distances(hits: np.ndarray, sentence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many words the nearest hit is after each word, at most 8 in either direction; whether it is the first one."""
    places, here = np.flatnonzero(hits), np.arange(len(hits))
    if not len(places):
        return np.full(len(hits), _NOWHERE), np.zeros(len(hits), dtype=bool)
    nearest = places[np.abs(places[None] - here[:, None]).argmin(1)]
    near = np.where(sentence[nearest] == sentence, np.clip(nearest - here, -8, 8), _FAR)
    return near, nearest == places[0]


def _columns(side: int, features: list[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Each combination as a number from 1 on, ``(n, features)``."""
    columns = []
    for kind, parts in enumerate(features):
        mixed = np.full(len(parts[0]), 31 * side + kind + 1, dtype=np.uint64)
        for part in parts:
            mixed = (mixed ^ part.astype(np.int64).astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        columns.append(1 + (mixed % np.uint64(BUCKETS - 1)).astype(np.int64))
    return np.stack(columns, 1)
