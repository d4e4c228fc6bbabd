"""Dropout with one mask for all steps of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SequenceDropout(nn.Module):
    """Drops a unit of a sequence at every step or at none (Gal and Ghahramani 2016, arXiv:1512.05287).

    Args:
        p: probability, in [0, 1).

    Raises:
        ValueError: ``p`` is out of range.
    """

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout: must be at least 0 and below 1, got {p}")
        self.p = p

    def mask(self, like: Tensor) -> Tensor | None:
        """What to multiply each step of ``like`` ``(B, L, width)`` or ``(B, width)`` by; None in evaluation."""
        if not self.training or self.p == 0:
            return None
        shape = (like.shape[0], 1, like.shape[-1]) if like.dim() == 3 else like.shape
        return torch.empty(shape, device=like.device, dtype=like.dtype).bernoulli_(1 - self.p).div_(1 - self.p)

    def forward(self, tensor: Tensor) -> Tensor:
        """Drop units of ``tensor``, of the same shapes as for `mask`."""
        mask = self.mask(tensor)
        return tensor if mask is None else tensor * mask
