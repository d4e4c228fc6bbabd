"""The candidates of a step of decoding: the most probable tokens of each row, and the extensions of beams.

The order is the same on every device: the largest logit first, and of equal ones the lowest token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from regard.decode.step import NO_DISTRIBUTION
from regard.kernels.cpu import beam as kernels


class Extended(NamedTuple):
    """The best extensions of each sentence's beams by one token.

    Attributes:
        ended: of each that ends, its sentence, score and row, in the order of sentences and scores.
        scores: of those that stay live, best first, ``(sentences, live)``.
        parents: their rows in this step, int64 ``(sentences, live)``.
        tokens: their tokens, int64 ``(sentences, live)``.
        tops: the best of ``scores`` of each sentence.
    """

    ended: list[tuple[int, float, int]]
    scores: Tensor
    parents: Tensor
    tokens: Tensor
    tops: Sequence[float]


def best_tokens(logits: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``count`` largest logits of each row ``(rows, count)``, their tokens, and the row's log-sum-exp ``(rows,)``.

    >>> values, tokens, sums = best_tokens(torch.tensor([[0.0, 2.0, 1.0, 2.0]]), 3)
    >>> values.tolist(), tokens.tolist()
    ([[2.0, 2.0, 1.0]], [[1, 3, 2]])
    """
    if kernels.can(logits):
        return kernels.best(logits, count)
    tokens = _first(logits, count)
    return logits.gather(1, tokens), tokens, logits.logsumexp(-1)


def extend(scores: Tensor, logits: Tensor, beam: int, eos: int, normalized: bool) -> Extended:
    """Extend beams by one token.

    In each sentence all extensions are ordered by score; of equal ones, those of the first row come first. Those among
    the first ``beam`` that end are ended, and the first ``beam`` that do not end are live. If there are too few, ones
    of score −∞ fill the beam.

    Args:
        scores: ``(sentences, width)``; −∞: the beam is not live.
        logits: ``(sentences · width, vocabulary)``.
        beam: the beam size.
        eos: the token that ends a sequence.
        normalized: whether logits are added up as they are.

    Raises:
        ValueError: the logits of a live row are not a distribution.
    """
    if scores.dtype is torch.float32 and kernels.can(logits):
        result = kernels.extend(scores, logits, beam, eos, normalized)
        if result is None:
            raise ValueError(NO_DISTRIBUTION)
        return Extended(*result)
    return _extend(scores, logits, beam, eos, normalized)


def _extend(scores: Tensor, logits: Tensor, beam: int, eos: int, normalized: bool) -> Extended:
    """`extend` with PyTorch; of a GPU's results one tensor is read."""
    sentences = scores.shape[0]
    values, tokens, sums = best_tokens(logits, min(beam, logits.shape[1] - 1) + 1)
    before, sums = scores.reshape(-1, 1), sums[:, None]
    dead = before == -math.inf
    valid = dead | ((sums < math.inf) & (normalized or sums > -math.inf))
    extended = torch.where(dead, -math.inf, before + (values if normalized else values - sums))
    parents = torch.arange(len(logits), device=logits.device)[:, None].expand_as(tokens)
    # Sorting is stable: equal scores, which rounding can make, keep their order.
    extended, order = extended.reshape(sentences, -1).sort(stable=True, dim=-1, descending=True)
    parents, tokens = (part.reshape(sentences, -1).gather(1, order) for part in (parents, tokens))
    ends = tokens == eos
    ended = torch.where(ends, extended, -math.inf)[:, :beam]
    live, order = extended.masked_fill(ends, -math.inf).sort(stable=True, dim=-1, descending=True)
    live, order = live[:, :beam], order[:, :beam]
    read = torch.cat([ended.double(), parents[:, :beam].double(), live[:, :1].double()], 1)
    *numbers, well = torch.cat([read.flatten(), valid.all().double()[None]]).tolist()
    if not well:
        raise ValueError(NO_DISTRIBUTION)
    size, each = ended.shape[1], read.shape[1]
    of_sentences = [numbers[start : start + each] for start in range(0, len(numbers), each)]
    return Extended(
        [(at, one[place], int(one[size + place]))
         for at, one in enumerate(of_sentences) for place in range(size) if one[place] > -math.inf],
        live, parents.gather(1, order), tokens.gather(1, order), [one[-1] for one in of_sentences],
    )  # fmt: skip


def _first(logits: Tensor, count: int) -> Tensor:
    """The tokens of the ``count`` largest logits of each row, in order."""
    if count == 1:
        return logits.argmax(-1, keepdim=True)
    if logits.dtype is not torch.float32:
        return logits.sort(stable=True, dim=-1, descending=True).indices[:, :count]
    # topk has no order of equal numbers. Here no two are equal: the bits of a logit, as an integer
    # of the same order, are followed by those of its place from the end. Adding 0 makes −0 the same as 0.
    bits = (logits + 0.0).view(torch.int32)
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(torch.int64)
    last = logits.shape[1] - 1
    keys = (ordered << 32) + torch.arange(last, -1, -1, device=logits.device)
    return last - (keys.topk(count).values & 0xFFFFFFFF)
