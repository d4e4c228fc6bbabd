"""The pairs whose source is most similar to a text: by words that both have and few others."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regard.data.arrays import read_arrays, write_arrays
from regard.data.corpus import Documents
from regard.data.ngrams import Bags, NGrams, words_and_pairs
from regard.data.progress import counted

_FREQUENT = 0.01
"""Words of more than this part of the sources are not compared: that would take most of the time and change little."""
_EXPECTED = 100
"""The number of sources that may have a word in any case."""


class Neighbour(NamedTuple):
    """The target of a pair whose source is similar to a text; the similarity is between 0 and 1."""

    target: str
    similarity: float


@dataclass(frozen=True, eq=False)
class SimilarPairs:
    """Pairs of texts, among which those with the most similar source are looked up.

    The similarity is the cosine of the words and pairs of words of two texts, weighted by TF-IDF, with equal words
    counted only if at most one source in a hundred has them. An index from words to sources makes the time of a query
    grow with the number of sources that share a rare word with it.

    Attributes:
        ngrams: the words and pairs of words of the sources.
        places: the sources that have each of them, with its weight there.
        sources: CRC-32 of each source, uint32 ``(n,)``.
        targets: the target of each.

    >>> texts = [("a red cat".split(), "cats"), ("a red dog".split(), "dogs")]
    >>> pairs = SimilarPairs.of(texts)
    >>> [(one.target, round(one.similarity, 2)) for one in pairs.nearest("the dog".split(), 2)]
    [('dogs', 0.53)]
    >>> pairs.nearest("a red cat".split(), 1)[0].target  # no source is a neighbour of itself
    'dogs'
    """

    ngrams: NGrams
    places: Bags
    sources: np.ndarray
    targets: Sequence[str]

    @classmethod
    def of(cls, pairs: Iterable[tuple[Sequence[str], str]]) -> SimilarPairs:
        """From the words of each source, and its target. Of pairs with the same source, only the first is used."""
        targets: dict[tuple[str, ...], str] = {}
        with counted("indexing texts") as count:
            for words, target in pairs:
                targets.setdefault(tuple(words), target)
                count()
        ngrams = NGrams.of(list(targets), kinds=(words_and_pairs,))
        places = ngrams.bags(targets).transposed(len(ngrams.hashes))
        places = places.at_most(max(_EXPECTED, int(_FREQUENT * len(targets))))
        return cls(ngrams, places, np.array(list(map(_crc, targets)), np.uint32), list(targets.values()))

    def nearest(self, words: Sequence[str], count: int) -> list[Neighbour]:
        """At most ``count`` pairs with a source that is similar to a text but not the same, the most similar first."""
        query = self.ngrams.bags([words])
        spans = [slice(self._bounds[row], self._bounds[row + 1]) for row in query.rows]
        if not spans:
            return []
        texts = np.concatenate([self.places.rows[span] for span in spans])
        weights = np.concatenate(
            [weight * self.places.weights[span] for weight, span in zip(query.weights, spans, strict=True)]
        )
        scores = np.bincount(texts, weights, minlength=len(self.targets))
        scores[self.sources == _crc(words)] = 0.0
        best = np.argsort(-scores, kind="stable")[:count].tolist()
        return [Neighbour(self.targets[at], min(1.0, float(scores[at]))) for at in best if scores[at] > 0]

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Word or pair i has the places from ``bounds[i]`` to ``bounds[i + 1]``."""
        return np.append(self.places.starts, len(self.places.rows))

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        targets = Documents.of(self.targets)
        texts = (targets.data, targets.starts, targets.ends)
        parts = (self.ngrams.hashes, self.ngrams.idf, *self.places, self.sources, *texts)
        write_arrays(path, dict(zip(_SAVED, parts, strict=True)))

    @classmethod
    def load(cls, path: Path) -> SimilarPairs:
        """Read what `save` wrote. Raises UserError: it is missing or damaged."""
        parts = dict(zip(_SAVED, read_arrays(path, _SAVED, "a file of similar pairs"), strict=True))
        places = Bags(*(parts[name] for name in ("place_texts", "place_weights", "place_starts")))
        targets = Documents(parts["target_data"], parts["target_starts"], parts["target_ends"])
        return cls(NGrams(parts["hashes"], parts["idf"], kinds=(words_and_pairs,)), places, parts["sources"], targets)


_SAVED = (
    "hashes", "idf", "place_texts", "place_weights", "place_starts",
    "sources", "target_data", "target_starts", "target_ends",
)  # fmt: skip


def _crc(words: Sequence[str]) -> int:
    return zlib.crc32("\n".join(words).encode())
