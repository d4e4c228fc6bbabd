"""A model reads windows: the best spans of each question over all of its windows, and the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.data.batching import fill
from regard.data.questions import Span
from regard.models.span import HIDDEN, SpanReader
from regard.tasks.families.span.linear import Ranked, mixed
from regard.tasks.families.span.windows import Windows

_TOKENS = 8192
"""Context and question tokens of a batch, padding included."""


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


def read(
    model: SpanReader,
    windows: Windows,
    questions: Sequence[int],
    *,
    count: int = 1,
    ranked: Sequence[Ranked] | None = None,
    share: float = 0.0,
) -> Reading:
    """The best spans of each of ``questions``, at most ``count``; call it without gradients, in evaluation mode.

    ``ranked`` is what a linear model says of these questions, which has the ``share`` of the log-odds.
    """
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
        best = odds.topk(min(odds.shape[1], 1 if count == 1 and ranked is None else 50 * count))
        sums = odds.logsumexp(-1).tolist()
        for row, values, places, of_all in zip(batch, best.values.tolist(), best.indices.tolist(), sums, strict=True):
            pairs = zip(places, values, strict=True)
            candidates[row] = ([(place + 1, value) for place, value in pairs if value > HIDDEN / 2], of_all)
    merged = (_joined(windows, one, candidates) for one in questions)
    if ranked is not None:
        texts = (windows.questions[one].context for one in questions)
        merged = (mixed(text, odds, other, share) for text, (odds, _), other in zip(texts, merged, ranked, strict=True))
    return Reading([_best(*one, count) for one in merged], total, usable)


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


def _joined(
    windows: Windows, question: int, candidates: dict[int, tuple[list[tuple[int, float]], float]]
) -> tuple[dict[Span, float], float]:
    """The spans of all windows of a question, and the total: of a span in two windows, the more probable one counts."""
    rows = windows.rows([question])
    odds: dict[Span, float] = {}
    for row in rows:
        for place, value in candidates[row][0]:
            span = windows.span(row, place)
            odds[span] = max(value, odds.get(span, value))
    return odds, _log_sum(candidates[row][1] for row in rows)


def _best(odds: Mapping[Span, float], total: float, count: int) -> BestSpans:
    """The most probable spans, at most ``count``, without those that overlap a more probable one."""
    spans: list[tuple[Span, float]] = []
    for span, value in sorted(odds.items(), key=lambda pair: pair[1], reverse=True):
        if all(span[1] <= start or span[0] >= end for (start, end), _ in spans):
            spans.append((span, value))
            if len(spans) == count:
                break
    return BestSpans(tuple(spans), total)


def _sigmoid(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))


def _log_sum(values: Iterator[float]) -> float:
    """The logarithm of the sum of the exponentials of ``values``."""
    every = list(values)
    highest = max(every)
    return highest + math.log(sum(math.exp(value - highest) for value in every))
