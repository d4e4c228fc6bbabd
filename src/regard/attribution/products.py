"""Products of vectors with the matrices of attentions, of which only a few rows exist at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from regard.attribution.trace import Call
from regard.kernels.statistics import queries_per_tile

Rows = Callable[[Call, Tensor], Tensor]
"""The rows of a matrix of a call, ``(B, n, Lk)``, for n queries, given by their indices."""


def left(call: Call, rows: Rows, vector: Tensor) -> Tensor:
    """``vectorᵀ M``, ``(B, Lk)``, for ``(B, Lq)``; rows for which the vector is 0 are not computed."""
    total = vector.new_zeros(vector.shape[0], call.plan.key.shape[2])
    for at in _parts(call, vector.ne(0).any(0).nonzero()[:, 0]):
        total += torch.einsum("bi,bij->bj", vector[:, at], rows(call, at))
    return total


def right(call: Call, rows: Rows, vector: Tensor) -> Tensor:
    """``M vector``, ``(B, Lq)``, for ``(B, Lk)``."""
    every = torch.arange(call.output.shape[2], device=vector.device)
    return torch.cat([torch.einsum("bij,bj->bi", rows(call, at), vector) for at in _parts(call, every)], 1)


def mean_weights(call: Call, at: Tensor) -> Tensor:
    """The weights, averaged over the heads."""
    return call.tile(at).mean(1)


def relevant_weights(call: Call, at: Tensor) -> Tensor:
    """``mean_h (∇A ⊙ A)⁺``, with ∇A the gradient of the target in the weights: that of the output times the values."""
    values = call.plan.value.to(call.gradient.dtype)
    batch, heads, _, width = call.gradient.shape
    groups = values.shape[1]
    grouped = call.gradient[:, :, at].view(batch, groups, (heads // groups) * at.numel(), width)
    gradient = (grouped @ values.mT).view(batch, heads, at.numel(), -1)
    return gradient.mul_(call.tile(at)).clamp_(min=0).mean(1)


def shares(rows: Rows) -> Rows:
    """The same rows, divided by their sums."""

    def divided(call: Call, at: Tensor) -> Tensor:
        values = rows(call, at)
        return values / values.sum(2, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)

    return divided


def _parts(call: Call, rows: Tensor) -> Iterator[Tensor]:
    """The rows in tiles; nothing, if there is none."""
    return (part for part in rows.split(queries_per_tile(call.plan)) if part.numel())
