"""A model reads windows: the best spans of each question over all of its windows, and the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.data.batching import fill
from regard.data.questions import Span
from regard.models.span import HIDDEN, SpanReader
from regard.tasks.families.span.windows import Windows

_TOKENS = 8192
"""Context and question tokens of a batch, padding included."""


@dataclass(frozen=True)
class BestSpans:
    """The spans of a context that can be the answer, the most probable first; none of them overlap.

    Attributes:
        spans: each span, and the logarithm of its probability divided by that of no answer.
        total: the same for all spans of all windows together.
        row: the window of the first span.
    """

    spans: tuple[tuple[Span, float], ...]
    total: float
    row: int

    @property
    def share(self) -> float:
        """The probability that there is an answer."""
        return _sigmoid(self.total)

    @property
    def best_share(self) -> float:
        """The probability of the first span divided by the sum of it and that of no answer."""
        return _sigmoid(self.spans[0][1])

    def probability(self, odds: float) -> float:
        """The probability of a span."""
        return math.exp(odds - max(0.0, self.total) - math.log1p(math.exp(-abs(self.total))))


@dataclass(frozen=True)
class Reading:
    """What a model reads of questions: the spans of each, the loss summed over windows, and the number of these."""

    best: list[BestSpans]
    loss: float
    count: int


def read(model: SpanReader, windows: Windows, questions: Sequence[int], *, count: int = 1) -> Reading:
    """The best spans of each of ``questions``, at most ``count``; call it without gradients, in evaluation mode."""
    rows, lengths = windows.rows(questions), windows.lengths
    candidates: dict[int, tuple[list[tuple[int, float]], float]] = {}
    total, usable = 0.0, 0
    for batch in fill(sorted(rows, key=lambda row: tuple(lengths[row])), lengths, _TOKENS):
        logits = model(*windows.batch(batch, model.device))
        kept = torch.from_numpy(windows.usable[batch]).to(logits.device)
        losses = losses_of(logits, *windows.targets(batch, logits.device))
        total, usable = total + float(losses[kept].sum()), usable + int(kept.sum())
        odds = (logits[:, 1:] - logits[:, :1]).double()
        # Most of the best spans overlap, so there are many more candidates than answers.
        best = odds.topk(min(odds.shape[1], 1 if count == 1 else 50 * count))
        sums = odds.logsumexp(-1).tolist()
        for row, values, places, of_all in zip(batch, best.values.tolist(), best.indices.tolist(), sums, strict=True):
            pairs = zip(places, values, strict=True)
            candidates[row] = ([(place + 1, value) for place, value in pairs if value > HIDDEN / 2], of_all)
    return Reading([_merged(windows, one, candidates, count) for one in questions], total, usable)


def losses_of(logits: Tensor, index: Tensor, real: Tensor, smoothing: float = 0.0) -> Tensor:
    """The negative log-probability of the correct spans of each window, ``(B,)``.

    Args:
        logits: ``(B, n)``.
        index: see `Windows.targets`.
        real: likewise.
        smoothing: the share of the probability that is spread over all spans and no answer.
    """
    logs = logits.log_softmax(-1)
    losses = -logs.gather(1, index).masked_fill(~real, -torch.inf).logsumexp(-1)
    if smoothing:
        exists = logits > HIDDEN / 2
        spread = -(logs * exists).sum(-1) / exists.sum(-1)
        losses = (1 - smoothing) * losses + smoothing * spread
    return losses


def loss(
    model: nn.Module, windows: Windows, rows: Sequence[int], device: torch.device, smoothing: float
) -> tuple[Tensor, int]:
    """The loss summed over windows, and their number."""
    logits = model(*windows.batch(rows, device))
    return losses_of(logits, *windows.targets(rows, device), smoothing).sum(), len(rows)


def _merged(
    windows: Windows, question: int, candidates: dict[int, tuple[list[tuple[int, float]], float]], count: int
) -> BestSpans:
    """The spans of all windows of a question: of the same span in two windows, the more probable one counts."""
    rows = windows.rows([question])
    total = _log_sum(candidates[row][1] for row in rows)
    ordered = sorted(((odds, row, place) for row in rows for place, odds in candidates[row][0]), reverse=True)
    spans: list[tuple[Span, float]] = []
    for odds, row, place in ordered:
        span = windows.span(row, place)
        if all(span[1] <= start or span[0] >= end for (start, end), _ in spans):
            spans.append((span, odds))
            if len(spans) == count:
                break
    return BestSpans(tuple(spans), total, ordered[0][1])


def _sigmoid(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))


def _log_sum(values: Iterator[float]) -> float:
    """The logarithm of the sum of the exponentials of ``values``."""
    every = list(values)
    highest = max(every)
    return highest + math.log(sum(math.exp(value - highest) for value in every))
