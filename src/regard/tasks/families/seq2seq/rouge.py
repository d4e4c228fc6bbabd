"""ROUGE of output texts, and how much of an output is new, that is, not in its source."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from regard.data.lines import compose
from regard.errors import require
from regard.explain.alignment import UNSPACED
from regard.tasks.results import Score, Scores

TYPES = ("rouge1", "rouge2", "rougeL")

_OTHER_LETTERS = 0.01
"""The share of letters outside of a to z from which on `Words` cuts text into words."""


_LEAD = 20
"""The most words of a first sentence."""


class Splitter(Protocol):
    """Cuts text into words, for the package rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        ...


class Words:
    """Words of letters, marks and digits in any script; single characters in scripts without spaces between words.

    The tokenizer of the package rouge-score keeps only a to z and 0 to 9. For text of these, both give the same words.

    >>> Words().tokenize("Déjà-vu réitéré: 東京2"), Words().tokenize("Running tests")
    (['déjà', 'vu', 'réitéré', '東', '京', '2'], ['run', 'test'])
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in lower case; English ones of more than three letters by their stem."""
        words: list[str] = _pattern().findall(compose(text).lower())
        return [_stemmer().stem(word) if len(word) > 3 and re.fullmatch("[a-z0-9]+", word) else word for word in words]


def splitter(references: Iterable[str]) -> tuple[Splitter, str]:
    """How to cut texts into words, and its name: as rouge-score does, or `Words` if that would lose letters."""
    letters = [letter for text in references for letter in text if letter.isalpha()]
    others = sum(not letter.isascii() for letter in letters)
    if others > _OTHER_LETTERS * len(letters):
        return Words(), "words of any script"
    tokenizers: Any = require("rouge_score.tokenizers", "summarize", "ROUGE")
    plain: Splitter = tokenizers.DefaultTokenizer(use_stemmer=True)
    return plain, "its own tokenizer"


def rouge(texts: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[dict[str, float], str]:
    """ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), 0 to 100: F1 by the package rouge-score with the Porter stemmer, the
    largest of all references of a text, mean over the texts; and how the texts are cut into words.

    Args:
        texts: the outputs.
        references: those of each output, at least one.

    Example:
        >>> scores, _ = rouge(["the cat sat"], [["a cat sat down", "a dog"]])
        >>> {name: round(value, 1) for name, value in scores.items()}
        {'rouge1': 57.1, 'rouge2': 40.0, 'rougeL': 57.1}
    """
    scorers: Any = require("rouge_score.rouge_scorer", "summarize", "ROUGE")
    words, how = splitter(reference for several in references for reference in several)
    scorer = scorers.RougeScorer(list(TYPES), tokenizer=words)
    totals = dict.fromkeys(TYPES, 0.0)
    for text, several in zip(texts, references, strict=True):
        best = scorer.score_multi(list(several), text)
        for name in TYPES:
            totals[name] += 100 * float(best[name].fmeasure)
    return {name: total / max(1, len(texts)) for name, total in totals.items()}, how


def lead(text: str) -> str:
    """The first sentence or line of a text, at most 20 words: a summary that needs no model.

    >>> lead("Rain fell. It was cold.")
    'Rain fell.'
    """
    return " ".join(re.split(r"(?<=[.!?])\s|\n", text.strip(), maxsplit=1)[0].split()[:_LEAD])


def scored(texts: Sequence[str], sources: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """ROUGE and the share of new bigrams, with the ROUGE of `lead` beside them.

    Args:
        texts: the outputs.
        sources: the text of each.
        references: those of each output, at least one.
    """
    values, cut = rouge(texts, references)
    floor, _ = rouge([lead(source) for source in sources], references)
    count = sum(map(len, references))
    several = f"the largest of {count / len(texts):.1f} references, " if count > len(texts) else ""
    how = f"F1, {several}rouge-score with stemmer, {cut}; first sentence"
    scores = {name: Score(value, f"{how} {floor[name]:.2f}") for name, value in values.items()}
    new = new_bigrams(texts, sources)
    return {**scores, "new": Score(new, "per cent of the bigrams written that are not in the text")}


def new_bigrams(texts: Sequence[str], sources: Sequence[str]) -> float:
    """The percentage of different bigrams of the texts that do not occur in their source.

    >>> new_bigrams(["the dog sat"], ["the dog ran"])
    50.0
    """
    words, _ = splitter(sources)
    new = total = 0
    for text, source in zip(texts, sources, strict=True):
        own = _bigrams(words.tokenize(text))
        total += len(own)
        new += len(own - _bigrams(words.tokenize(source)))
    return 100.0 * new / max(1, total)


def _bigrams(words: Sequence[str]) -> set[tuple[str, str]]:
    return set(itertools.pairwise(words))


@functools.cache
def _pattern() -> Any:
    regex: Any = require("regex", "text", "cutting text into words")
    return regex.compile(rf"[{UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+", flags=regex.V1)


@functools.cache
def _stemmer() -> Any:
    tokenizers: Any = require("nltk.stem.porter", "summarize", "ROUGE")
    return tokenizers.PorterStemmer()
