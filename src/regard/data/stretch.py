"""Sequences in a batch that begin earlier or later, and run faster or slower."""

from __future__ import annotations

import torch
from torch import Tensor


def stretched(
    x: Tensor, lengths: Tensor, *, shift: float, speed: float, least: int, silence: bool = False
) -> tuple[Tensor, Tensor]:
    """Change the time of sequences at random, each in another way, with PyTorch's generator.

    Values between two places are interpolated.

    Args:
        x: ``(B, N, …)``, padded at the end.
        lengths: of each, ``(B,)``.
        shift: begin later or earlier by at most this many places.
        speed: run faster or slower by at most this share.
        least: the smallest length of the result.
        silence: 0 comes before the beginning, and not the first value.

    Returns:
        Both, as they were given; padding is 0.
    """
    count, rank = len(x), [1] * (x.ndim - 2)
    factors = 1 + speed * (2 * torch.rand(count, 1, device=x.device) - 1)
    later = shift * (2 * torch.rand(count, 1, device=x.device) - 1)
    after = (lengths[:, None] / factors + later).long().clamp(min=least)
    last = (lengths[:, None] - 1).float()
    at = (torch.arange(int(after.max()), device=x.device) - later) * factors
    inside = ((at >= 0) & (at <= last)) if silence else torch.ones_like(at, dtype=torch.bool)
    at = torch.minimum(at.clamp(min=0), last)
    left = at.long()
    right = torch.minimum(left + 1, last.long())
    share, rows = at - left, torch.arange(count, device=x.device)[:, None]
    share, inside = (one.reshape(*one.shape, *rank) for one in (share, inside))
    x = ((1 - share) * x[rows, left] + share * x[rows, right]) * inside
    return x * real(x, after[:, 0]), after[:, 0]


def real(x: Tensor, lengths: Tensor) -> Tensor:
    """1 for the places below the length of each, 0 for padding, of the rank of ``x`` ``(B, N, …)``."""
    places = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return places.to(x).reshape(*places.shape, *[1] * (x.ndim - 2))
