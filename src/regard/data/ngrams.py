"""N-grams of a text: its words, pairs of words and parts of words, weighted by TF-IDF."""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

_SIZES = (2, 3, 4, 5)
_MOST = 1 << 20
"""The largest number of n-grams that are kept, the most frequent ones."""


class Bags(NamedTuple):
    """N-grams of texts in flat arrays.

    ``rows`` int64 ``(n,)`` are their numbers, ``weights`` float32 ``(n,)``, and text i has those from ``starts[i]`` on,
    int64 ``(texts,)``.
    """

    rows: np.ndarray
    weights: np.ndarray
    starts: np.ndarray

    def sizes(self) -> np.ndarray:
        """The number of n-grams of each text, int64 ``(texts,)``."""
        return np.diff(self.starts, append=len(self.rows))

    def at_most(self, most: int) -> Bags:
        """Without the n-grams of texts that have more than ``most``."""
        sizes = self.sizes()
        kept = sizes <= most
        rows = np.repeat(kept, sizes)
        new = np.where(kept, sizes, 0)
        return Bags(self.rows[rows], self.weights[rows], new.cumsum() - new)

    def transposed(self, size: int) -> Bags:
        """The texts of each n-gram, of which there are ``size``, in place of the n-grams of each text."""
        order = np.argsort(self.rows, kind="stable")
        texts = np.repeat(np.arange(len(self.starts)), self.sizes())[order]
        starts = np.searchsorted(self.rows[order], np.arange(size))
        return Bags(texts, self.weights[order], starts)


@dataclass(frozen=True, eq=False)
class NGrams:
    """The n-grams of some texts, with the weight of each by how many of them have it.

    A text has words and pairs of words, and parts of words of 2 to 5 characters, all in lower case. The weight of each
    in a text is ``(1 + ln count) · idf``; the norm of the words and pairs is 1, and that of the parts likewise.

    Attributes:
        hashes: CRC-32 of each n-gram, in ascending order, uint32 ``(n,)``.
        idf: ``ln((1 + texts) / (1 + texts that have it)) + 1``, float32 ``(n,)``.
        parts: whether parts of words are used.

    >>> ngrams = NGrams.of([["a", "cat"], ["a", "dog"]])
    >>> bags = ngrams.bags([["a", "cat"], ["cow"]])
    >>> len(ngrams.hashes), bags.starts.tolist(), len(bags.rows)
    (28, [0, 16], 17)
    """

    hashes: np.ndarray
    idf: np.ndarray
    parts: bool = True

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], *, parts: bool = True) -> NGrams:
        """The n-grams of texts, given as words; ``parts``: with parts of words."""
        counts: Counter[int] = Counter()
        for text in texts:
            counts.update(set(itertools.chain(*_hashes(text, parts))))
        kept = sorted(counts.most_common(_MOST))
        hashes = np.array([number for number, _ in kept], np.uint32)
        frequencies = np.array([count for _, count in kept], np.float64)
        return cls(hashes, (np.log((1 + len(texts)) / (1 + frequencies)) + 1).astype(np.float32), parts)

    def bags(self, texts: Iterable[Sequence[str]]) -> Bags:
        """The n-grams of texts, given as words; others than `hashes` are left out."""
        rows, weights, starts = [np.empty(0, np.int64)], [np.empty(0, np.float32)], []
        count = 0
        for text in texts:
            starts.append(count)
            for block in _hashes(text, self.parts):
                own, own_weights = self._weighted(block)
                rows.append(own)
                weights.append(own_weights)
                count += len(own)
        return Bags(np.concatenate(rows), np.concatenate(weights), np.array(starts, np.int64))

    def _weighted(self, hashes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        distinct, counts = np.unique(np.array(hashes, np.uint32), return_counts=True)
        rows = np.searchsorted(self.hashes, distinct)
        known = self.hashes[np.minimum(rows, len(self.hashes) - 1)] == distinct
        rows, counts = rows[known], counts[known]
        weights = (1 + np.log(counts)).astype(np.float32) * self.idf[rows]
        return rows, weights / max(float(np.linalg.norm(weights)), 1e-12)


def _hashes(words: Sequence[str], with_parts: bool) -> list[list[int]]:
    """Those of the words and pairs of a text, and with ``with_parts`` those of the parts of its words."""
    lower = [word.lower() for word in words]
    pairs = (_hash(f"pair {one} {other}") for one, other in itertools.pairwise(lower))
    parts = [list(itertools.chain.from_iterable(map(_parts, lower)))] if with_parts else []
    return [[*(_hash(f"word {word}") for word in lower), *pairs], *parts]


@lru_cache(1 << 16)
def _parts(word: str) -> tuple[int, ...]:
    marked = f" {word} "
    return tuple(_hash(marked[at : at + size]) for size in _SIZES for at in range(len(marked) - size + 1))


def _hash(ngram: str) -> int:
    return zlib.crc32(ngram.encode())
