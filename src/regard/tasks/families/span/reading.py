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
from regard.tasks.families.span.odds import Odds, mean_odds
from regard.tasks.families.span.windows import Windows
from regard.tasks.fitted.spans import Ranked

OVERLAPPING = 50
"""The number of spans of a window to keep for each answer that is wanted, since most of the best ones overlap."""
_TOKENS = 8192
"""Context and question tokens of a batch, padding included."""


@dataclass(frozen=True)
class Reading:
    """What a model reads of questions: the spans of each, the loss summed over windows, and the number of these."""

    odds: list[Odds]
    loss: float
    count: int


def read(model: SpanReader, windows: Windows, questions: Sequence[int], *, most: int = 1) -> Reading:
    """The most probable spans of each of ``questions``, at most ``most`` of a window.

    Call it without gradients, in evaluation mode.
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
        best = odds.topk(min(odds.shape[1], most))
        sums = odds.logsumexp(-1).tolist()
        for row, values, places, of_all in zip(batch, best.values.tolist(), best.indices.tolist(), sums, strict=True):
            pairs = zip(places, values, strict=True)
            candidates[row] = ([(place + 1, value) for place, value in pairs if value > HIDDEN / 2], of_all)
    return Reading([_joined(windows, one, candidates) for one in questions], total, usable)


def with_linear(reading: Sequence[Odds], ranked: Sequence[Ranked], share: float, contexts: Sequence[str]) -> list[Odds]:
    """The means of a network's log-odds and those of a linear model, which has the ``share``, for each question."""
    every = zip(reading, ranked, contexts, strict=True)
    return [mean_odds([own.trimmed(text).spans, other.odds], [1 - share, share]) for own, other, text in every]


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


def _joined(windows: Windows, question: int, candidates: dict[int, tuple[list[tuple[int, float]], float]]) -> Odds:
    """The spans of all windows of a question: of a span in two windows, the more probable one counts."""
    rows = windows.rows([question])
    odds: dict[Span, float] = {}
    for row in rows:
        for place, value in candidates[row][0]:
            span = windows.span(row, place)
            odds[span] = max(value, odds.get(span, value))
    return Odds(odds, _log_sum(candidates[row][1] for row in rows))


def _log_sum(values: Iterator[float]) -> float:
    """The logarithm of the sum of the exponentials of ``values``."""
    every = list(values)
    highest = max(every)
    return highest + math.log(sum(math.exp(value - highest) for value in every))
