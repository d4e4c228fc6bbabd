"""Batches of sounds as a model takes them: padded, and changed at random in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.data.ragged import Ragged


def sound_batch(values: Ragged, rows: Sequence[int], least: int) -> tuple[Tensor, Tensor]:
    """Some sounds, padded with zeros: float32 ``(B, N)`` or features ``(B, T, width)``; and their lengths, ``(B,)``.

    Args:
        values: samples, int16, which become numbers from −1 to 1, or features.
        rows: which sounds.
        least: shorter ones are padded to this length, which is also their length in the result.

    >>> x, lengths = sound_batch(Ragged.of([np.array([16384], np.int16), np.array([0, -32768], np.int16)]), [0, 1], 1)
    >>> x.tolist(), lengths.tolist()
    ([[0.5, 0.0], [0.0, -1.0]], [1, 2])
    """
    lengths = np.maximum(values.lengths[list(rows)], least)
    x = np.zeros((len(rows), int(lengths.max(initial=least)), *values.flat.shape[1:]), dtype=np.float32)
    scale = 32768 if values.flat.dtype == np.int16 else 1
    for place, row in zip(x, rows, strict=True):
        place[: values.lengths[row]] = values[row] / np.float32(scale)
    return torch.from_numpy(x), torch.from_numpy(lengths)


def augment(x: Tensor, lengths: Tensor, *, shift: int, speed: float, noise: float, least: int) -> tuple[Tensor, Tensor]:
    """Change sounds at random, each in another way, with PyTorch's generator.

    Args:
        x: samples ``(B, N)`` or features ``(B, T, width)``.
        lengths: of each, ``(B,)``.
        shift: begin later or earlier by at most this many samples or frames; silence, or the first frame, comes before.
        speed: play faster or slower by at most this share, samples with a higher or lower pitch.
        noise: add normal noise with at most this share of the standard deviation of the sound.
        least: the smallest length of the result.

    Returns:
        Both, as they were given.
    """
    count, samples = len(x), x.ndim == 2
    if shift or speed:
        factors = 1 + speed * (2 * torch.rand(count, 1, device=x.device) - 1)
        later = shift * (2 * torch.rand(count, 1, device=x.device) - 1)
        after = (lengths[:, None] / factors + later).long().clamp(min=least)
        last = (lengths[:, None] - 1).float()
        at = (torch.arange(int(after.max()), device=x.device) - later) * factors
        inside = ((at >= 0) & (at <= last)) if samples else torch.ones_like(at, dtype=torch.bool)
        at = torch.minimum(at.clamp(min=0), last)
        left = at.long()
        right = torch.minimum(left + 1, last.long())
        share, rows = at - left, torch.arange(count, device=x.device)[:, None]
        if not samples:
            share, inside = share[..., None], inside[..., None]
        x = ((1 - share) * x[rows, left] + share * x[rows, right]) * inside
        lengths = after[:, 0]
        x = x * _real(x, lengths)
    if noise:
        every = tuple(range(1, x.ndim))
        levels = noise * torch.rand(count, *[1] * (x.ndim - 1), device=x.device) * x.std(every, keepdim=True)
        x = (x + levels * torch.randn_like(x)) * _real(x, lengths)
    return x, lengths


def _real(x: Tensor, lengths: Tensor) -> Tensor:
    """1 for the places below the length of each, 0 for padding, of the rank of ``x``."""
    real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return real.to(x).reshape(*real.shape, *[1] * (x.ndim - 2))
