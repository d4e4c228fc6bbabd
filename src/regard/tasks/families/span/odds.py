"""The spans of a context by their log-odds, and the means of the log-odds of several models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regard.data.questions import Span
from regard.data.span_features import trimmed

_LIMITS = 0.01, 0.99
"""Of thresholds, where their mean is taken."""


@dataclass(frozen=True)
class BestSpans:
    """The spans of a context that can be the answer, the most probable first; none of them overlap.

    Attributes:
        spans: each span, and the logarithm of its probability divided by that of no answer.
        total: the same for all spans of all windows together.
    """

    spans: tuple[tuple[Span, float], ...]
    total: float

    @property
    def share(self) -> float:
        """The probability that there is an answer."""
        return sigmoid(self.total)

    @property
    def best_share(self) -> float:
        """The probability of the first span divided by the sum of it and that of no answer."""
        return sigmoid(self.spans[0][1])

    def probability(self, odds: float) -> float:
        """The probability of a span."""
        return math.exp(odds - max(0.0, self.total) - math.log1p(math.exp(-abs(self.total))))


@dataclass(frozen=True)
class Odds:
    """The most probable spans of a context, which can overlap.

    Attributes:
        spans: the logarithm of the probability of each, divided by that of no answer.
        total: the same for all spans together.
    """

    spans: Mapping[Span, float]
    total: float

    def best(self, count: int) -> BestSpans:
        """The most probable spans, at most ``count``, without those that overlap a more probable one."""
        spans: list[tuple[Span, float]] = []
        for span, value in sorted(self.spans.items(), key=lambda pair: pair[1], reverse=True):
            if all(span[1] <= start or span[0] >= end for (start, end), _ in spans):
                spans.append((span, value))
                if len(spans) == count:
                    break
        return BestSpans(tuple(spans), self.total)

    def trimmed(self, context: str) -> Odds:
        """The same with spans that differ only in punctuation at the edges as one.

        >>> Odds({(0, 4): 0.0, (0, 5): 0.0}, 0.7).trimmed("Good. Food.").spans  # the logarithm of 2
        {(0, 4): 0.6931471805599453}
        """
        spans: dict[Span, float] = {}
        for span, value in self.spans.items():
            bare = trimmed(context, span)
            spans[bare] = float(np.logaddexp(spans.get(bare, -math.inf), value))
        return Odds(spans, self.total)


def mean_odds(every: Sequence[Mapping[Span, float]], shares: Sequence[float]) -> Odds:
    """The weighted mean of the log-odds of several models: a product of their distributions.

    Unlike in the mean of probabilities, a model that is too sure of answers, or of "no answer", does not decide alone:
    this is a constant in the log-odds, and the threshold takes it up. A span that is not among the best ones of a model
    has the log-odds of the last of these.

    Args:
        every: the log-odds of the best spans of each model.
        shares: of each model; their sum is 1.

    >>> mean = mean_odds([{(0, 4): 1.0}, {(0, 4): 3.0, (5, 9): -1.0}], [0.5, 0.5])
    >>> mean.spans, round(mean.total, 2)
    ({(0, 4): 2.0, (5, 9): 0.0}, 2.13)
    """
    least = [min(one.values(), default=0.0) for one in every]
    spans = {
        span: sum(share * one.get(span, last) for share, one, last in zip(shares, every, least, strict=True))
        for span in dict.fromkeys(span for one in every for span in one)
    }
    return Odds(spans, float(np.logaddexp.reduce(list(spans.values()))))


def mean_threshold(thresholds: Sequence[float]) -> float:
    """The threshold that belongs to the mean of the log-odds of several models, each with its own threshold.

    A model that always or never answers does not decide alone.

    >>> round(mean_threshold([0.2, 0.8]), 6), round(mean_threshold([0.3, 0.3]), 6)
    (0.5, 0.3)
    """
    shares = np.clip(thresholds, *_LIMITS)
    return sigmoid(float(np.mean(np.log(shares) - np.log1p(-shares))))


def sigmoid(odds: float) -> float:
    """The probability with these log-odds."""
    return 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))
