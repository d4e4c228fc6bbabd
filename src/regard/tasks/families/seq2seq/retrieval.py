"""What a model reads before a text: the targets of the training pairs whose source is most similar to it."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from regard.data.lines import compose
from regard.data.similar import Neighbour, SimilarPairs
from regard.data.words import SIMILAR, split
from regard.tasks.families.seq2seq.data import PairList

_LEVELS = (0.1, 0.2, 0.4)
"""The similarities at which the next one of `SIMILAR` begins."""


@dataclass(frozen=True)
class Retriever:
    """Looks up the training pairs that are read before a text (Cao, Li, Li and Wei 2018, Retrieve, Rerank and Rewrite).

    Attributes:
        pairs: the training pairs.
        count: how many of them are read before a text.
        longest: the largest number of words of a target that are read.
    """

    pairs: SimilarPairs
    count: int
    longest: int

    @classmethod
    def of(cls, pairs: PairList, count: int, longest: int) -> Retriever:
        """From training pairs."""
        return cls(SimilarPairs.of((split(source), target) for source, target in pairs), count, longest)

    @classmethod
    def load(cls, path: Path, count: int, longest: int) -> Retriever:
        """Read what `save` wrote. Raises UserError: see `SimilarPairs.load`."""
        return cls(SimilarPairs.load(path), count, longest)

    def save(self, path: Path) -> None:
        """Write the pairs to a safetensors file."""
        self.pairs.save(path)

    def nearest(self, text: str) -> list[Neighbour]:
        """The training pairs for a text, the most similar first; never a pair with the same source."""
        return self.pairs.nearest(split(compose(text)), self.count)

    def words(self, neighbours: Iterable[Neighbour]) -> list[str]:
        """The words of their targets, with a special token after each that says how similar its source is.

        >>> pairs = [("a red cat", "cats"), ("a red dog", "dogs")]
        >>> retriever = Retriever.of(pairs, 1, longest=20)
        >>> retriever.words(retriever.nearest("my dog"))
        ['dogs', '<closest>']
        """
        words: list[str] = []
        for one in neighbours:
            words += [*split(one.target)[: self.longest], SIMILAR[bisect(_LEVELS, one.similarity)]]
        return words
