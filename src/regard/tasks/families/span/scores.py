"""Scores of answers as SQuAD computes them (Rajpurkar et al. 2016, 2018), and F1 over characters."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from regard.tasks.results import Score, Scores

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)

Unit = TypeVar("Unit", bound=Sequence[str])


def normalized(text: str) -> str:
    """``text`` as SQuAD compares it: lower case, without ASCII punctuation, articles and repeated white space.

    >>> normalized("The  Eiffel Tower!")
    'eiffel tower'
    """
    bare = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def characters(text: str) -> str:
    """The characters of ``text`` that F1 over characters compares: lower case, no white space and no punctuation.

    >>> characters("「鉄腕 アトム」")
    '鉄腕アトム'
    """
    return "".join(
        letter for letter in text.lower() if not letter.isspace() and not unicodedata.category(letter).startswith("P")
    )


def exact(answer: str, golds: Sequence[str]) -> float:
    """1.0 if an answer equals one of the correct ones, normalized; no correct answer: if it is empty."""
    return max(float(normalized(answer) == normalized(gold)) for gold in golds or ("",))


def f1(answer: str, golds: Sequence[str]) -> float:
    """F1 of the words of an answer and those of a correct one, the maximum over these.

    >>> f1("in Paris, France", ["Paris", "the city of Paris"])
    0.5
    """
    return max(_f1(normalized(answer).split(), normalized(gold).split()) for gold in golds or ("",))


def character_f1(answer: str, golds: Sequence[str]) -> float:
    """F1 of `characters`, for languages without spaces between words.

    >>> character_f1("手塚治虫氏", ["手塚治虫"])
    0.8888888888888888
    """
    return max(_f1(characters(answer), characters(gold)) for gold in golds or ("",))


def _f1(ours: Sequence[str], theirs: Sequence[str]) -> float:
    if not ours or not theirs:
        return float(len(ours) == len(theirs))
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


MEASURES: dict[str, tuple[Callable[[str, Sequence[str]], float], str]] = {
    "exact": (exact, "per cent of answers that equal a correct one, as SQuAD compares them"),
    "f1": (f1, "F1 of the words of an answer and a correct one, as SQuAD computes it, in per cent"),
    "character_f1": (character_f1, "F1 of their characters without white space and punctuation, in per cent"),
}
"""Name → function of an answer and the correct ones, and how it is computed."""


@dataclass(frozen=True)
class Judged:
    """The best span for a question, and what it scores.

    Attributes:
        share: the probability of the span divided by the sum of it and that of no answer.
        answered: the measures, in the order of `MEASURES`, if the span is the answer.
        declined: the same if there is no answer.
    """

    share: float
    answered: tuple[float, ...]
    declined: tuple[float, ...]

    @classmethod
    def of(cls, span: str, share: float, golds: Sequence[str]) -> Judged:
        """The scores of a span; ``golds``: the correct answers, none if there is no answer."""
        answered, declined = (
            tuple([measure(text, golds) for measure, _ in MEASURES.values()]) for text in (span, "")
        )  # fmt: skip
        return cls(share, answered, declined)


def mean(judged: Sequence[Judged], threshold: float) -> dict[str, float]:
    """The means of the measures in per cent, if a span is the answer where its share is at least ``threshold``."""
    chosen = [one.answered if one.share >= threshold else one.declined for one in judged]
    means = 100 * np.mean(np.array(chosen).reshape(-1, len(MEASURES)), axis=0) if chosen else np.zeros(len(MEASURES))
    return dict(zip(MEASURES, means.tolist(), strict=True))


def best_threshold(judged: Sequence[Judged], measure: str = "f1") -> float:
    """The share of its best span from which on an answer scores more than no answer, on average.

    The threshold with the highest mean would depend on a few questions. Instead, a constant is added to the log-odds of
    the shares, such that they fit how often answers score more (logistic regression; each question weighs as much as
    its two scores differ). Where this is worse than always or never to answer, the better of these is chosen, so that
    the mean is never below that of "no answer" to every question.

    Args:
        judged: the best span of each question.
        measure: a name in `MEASURES`.

    Returns:
        A number in float32, as a model keeps it; 0: always answer.

    >>> one, other = Judged(0.9, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), Judged(0.1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    >>> best_threshold([one, other]), best_threshold([one])
    (0.5, 0.0)
    """
    if not judged:
        return 0.0
    at = list(MEASURES).index(measure)
    gains = np.array([one.answered[at] - one.declined[at] for one in judged])
    shares = np.array([one.share for one in judged])
    thresholds = np.array([0.0, _even_share(shares, gains), shares.max() + 0.5], dtype=np.float32).astype(np.float64)
    means = [gains[shares >= threshold].sum() for threshold in thresholds]
    return float(thresholds[np.argmax(means)])


def _even_share(shares: np.ndarray, gains: np.ndarray) -> float:
    """The share at which the log-odds and the constant that fits them best are 0, by bisection."""
    odds = np.log(np.clip(shares, 1e-12, 1 - 1e-12)) - np.log1p(-np.clip(shares, 1e-12, 1 - 1e-12))
    low, high = -30.0, 30.0  # of log-odds
    for _ in range(60):
        middle = (low + high) / 2
        expected = 1 / (1 + np.exp(middle - odds))
        low, high = (middle, high) if (np.abs(gains) * (expected - (gains > 0))).sum() > 0 else (low, middle)
    return 1 / (1 + math.exp(-low))


def scores(texts: Sequence[str], golds: Sequence[Sequence[str]]) -> Scores:
    """All scores of answers.

    Args:
        texts: the answers; an empty one: the model gives no answer.
        golds: the correct answers to each question, none if there is no answer.
    """
    judged = [Judged.of(text, 1.0, gold) for text, gold in zip(texts, golds, strict=True)]
    result = {name: Score(value, MEASURES[name][1]) for name, value in mean(judged, 0.0).items()}
    parts = (("has_answer", "the questions with an answer", True), ("no_answer", "those without", False))
    for prefix, which, has in parts:
        part = [one for one, gold in zip(judged, golds, strict=True) if bool(gold) is has]
        if not part or len(part) == len(judged):
            continue
        values = mean(part, 0.0)
        names = ("exact", "f1") if has else ("exact",)  # without an answer, both are the same
        for name in names:
            key = f"{prefix}_{name}" if has else prefix
            result[key] = Score(values[name], f"the same over {which}, {len(part):,} of {len(judged):,}")
    return result
