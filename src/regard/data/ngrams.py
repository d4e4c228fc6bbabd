"""N-grams of a text: its words, pairs of words, parts of words and shapes of words, weighted by TF-IDF."""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from regard.data.progress import counted
from regard.data.word_features import shape

_SIZES = (2, 3, 4, 5)
_MOST = 1 << 20
"""The largest number of n-grams that are kept, the most frequent ones."""
_REACH = 4
"""The largest distance of two words that are a pair with words between them."""

Kind = Callable[[Sequence[str]], Iterable[int]]
"""From the words of a text to CRC-32 of its n-grams of a kind, each as often as it occurs."""


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

    def of(self, texts: np.ndarray) -> Bags:
        """Those of some of the texts, bool ``(texts,)``."""
        sizes = self.sizes()
        rows, new = np.repeat(texts, sizes), sizes[texts]
        return Bags(self.rows[rows], self.weights[rows], new.cumsum() - new)

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


def words_and_pairs(words: Sequence[str]) -> Iterator[int]:
    """The words of a text and the pairs of neighbouring words, in lower case."""
    lower = [word.lower() for word in words]
    yield from (_hash(f"word {word}") for word in lower)
    yield from (_hash(f"pair {one} {other}") for one, other in itertools.pairwise(lower))


def parts_of_words(words: Sequence[str]) -> Iterator[int]:
    """Parts of 2 to 5 characters of the words, in lower case, with a space before and after each word."""
    return itertools.chain.from_iterable(_parts(word.lower()) for word in words)


def distant_pairs(words: Sequence[str]) -> Iterator[int]:
    """Pairs of words in lower case that have one to three words between them."""
    lower = [word.lower() for word in words]
    for at, word in enumerate(lower):
        yield from (_hash(f"distant {word} {other}") for other in lower[at + 2 : at + 1 + _REACH])


def opening_pairs(words: Sequence[str]) -> Iterator[int]:
    """The first word, and the first two words, with each later word, in lower case."""
    lower = [word.lower() for word in words]
    for count in (1, 2):
        opening = " ".join(lower[:count])
        yield from (_hash(f"opening {opening}, {word}") for word in lower[count:])


def shapes_of_words(words: Sequence[str]) -> Iterator[int]:
    """The shapes of one to three words in a row, and of a word beside its neighbour in lower case.

    Names, abbreviations and numbers have shapes that are known even if no training text has them.
    """
    lower, shapes = [word.lower() for word in words], [shape(word) for word in words]
    for size in (1, 2, 3):
        rows = (shapes[at : at + size] for at in range(len(shapes) - size + 1))
        yield from (_hash(f"shapes {' '.join(row)}") for row in rows)
    for (word, before), (other, after) in itertools.pairwise(zip(lower, shapes, strict=True)):
        yield _hash(f"then shape {word} {after}")
        yield _hash(f"shape then {before} {other}")


ALL: tuple[Kind, ...] = (words_and_pairs, parts_of_words, distant_pairs, opening_pairs, shapes_of_words)


@dataclass(frozen=True, eq=False)
class NGrams:
    """The n-grams of some texts, with the weight of each by how many of them have it.

    The weight of each in a text is ``(1 + ln count) · idf``; the norm of those of a kind is 1.

    Attributes:
        hashes: CRC-32 of each n-gram, in ascending order, uint32 ``(n,)``.
        idf: ``ln((1 + texts) / (1 + texts that have it)) + 1``, float32 ``(n,)``.
        kinds: of n-grams.

    >>> ngrams = NGrams.of([["a", "cat"], ["a", "dog"]], kinds=(words_and_pairs, parts_of_words))
    >>> bags = ngrams.bags([["a", "cat"], ["cow"]])
    >>> len(ngrams.hashes), bags.starts.tolist(), len(bags.rows)
    (28, [0, 16], 17)
    """

    hashes: np.ndarray
    idf: np.ndarray
    kinds: tuple[Kind, ...] = ALL

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], *, kinds: tuple[Kind, ...] = ALL) -> NGrams:
        """The n-grams of texts, given as words."""
        counts: Counter[int] = Counter()
        with counted("finding n-grams") as count:
            for text in texts:
                counts.update({number for kind in kinds for number in kind(text)})
                count()
        kept = sorted(counts.most_common(_MOST))
        hashes = np.array([number for number, _ in kept], np.uint32)
        frequencies = np.array([count for _, count in kept], np.float64)
        return cls(hashes, (np.log((1 + len(texts)) / (1 + frequencies)) + 1).astype(np.float32), kinds)

    def bags(self, texts: Iterable[Sequence[str]]) -> Bags:
        """The n-grams of texts, given as words; others than `hashes` are left out."""
        rows, weights, starts = [np.empty(0, np.int64)], [np.empty(0, np.float32)], []
        count = 0
        for text in texts:
            starts.append(count)
            for kind in self.kinds:
                own, own_weights = self._weighted(kind(text))
                rows.append(own)
                weights.append(own_weights)
                count += len(own)
        return Bags(np.concatenate(rows), np.concatenate(weights), np.array(starts, np.int64))

    def _weighted(self, hashes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        distinct, counts = np.unique(np.fromiter(hashes, np.uint32), return_counts=True)
        rows = np.searchsorted(self.hashes, distinct)
        known = self.hashes[np.minimum(rows, len(self.hashes) - 1)] == distinct
        rows, counts = rows[known], counts[known]
        weights = (1 + np.log(counts)).astype(np.float32) * self.idf[rows]
        return rows, weights / max(float(np.linalg.norm(weights)), 1e-12)


@lru_cache(1 << 16)
def _parts(word: str) -> tuple[int, ...]:
    marked = f" {word} "
    return tuple(_hash(marked[at : at + size]) for size in _SIZES for at in range(len(marked) - size + 1))


def _hash(ngram: str) -> int:
    return zlib.crc32(ngram.encode())
