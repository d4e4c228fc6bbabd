"""Masks of time and of frequency, for the training of models of sounds."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpecAugment(nn.Module):
    """Masks of time and of frequency in training: Park et al. 2019 (arXiv:1904.08779), without the warping of time.

    Each mask has a random width from 0 to the largest one, at a random place; what is masked becomes 0, the mean of
    normalized features. Masks of frequencies are for energies in bands; with cepstra, of which each depends on the full
    spectrum, only use masks of time.

    Args:
        times: the number of masks of time.
        frames: their largest width; at most a fifth of a sound is masked by each.
        frequencies: the number of masks of frequencies.
        bands: their largest width.

    Raises:
        ValueError: a number is negative.

    Example:
        >>> SpecAugment(times=1, frames=3)(torch.ones(2, 20, 8), torch.tensor([20, 20])).shape
        torch.Size([2, 20, 8])
    """

    def __init__(self, *, times: int = 2, frames: int = 40, frequencies: int = 0, bands: int = 0):
        super().__init__()
        if min(times, frames, frequencies, bands) < 0:
            raise ValueError(f"must not be negative, got {times}, {frames}, {frequencies}, {bands}")
        self.times, self.frames, self.frequencies, self.bands = times, frames, frequencies, bands

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Mask normalized features ``(B, T, F)`` of these lengths, int64 ``(B,)``; in evaluation, unchanged."""
        if not self.training:
            return x
        for _ in range(self.times):
            x = x * _outside(x.shape[1], lengths, (lengths // 5).clamp(max=self.frames))[..., None]
        for _ in range(self.frequencies):
            every = torch.full_like(lengths, x.shape[2])
            x = x * _outside(x.shape[2], every, torch.full_like(lengths, min(self.bands, x.shape[2])))[:, None]
        return x


def _outside(count: int, lengths: Tensor, widths: Tensor) -> Tensor:
    """0 in a random interval of at most this width below the length of each, otherwise 1: ``(B, count)``."""
    drawn = torch.rand(2, len(lengths), device=lengths.device)
    wide = (drawn[0] * (widths + 1)).long()
    start = (drawn[1] * (lengths - wide + 1)).long()
    at = torch.arange(count, device=lengths.device)
    return ((at < start[:, None]) | (at >= (start + wide)[:, None])).float()
