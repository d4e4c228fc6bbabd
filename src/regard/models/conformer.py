"""A layer of the Conformer: self-attention and a convolution between two halves of a feed-forward layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Lengths
from regard.nn import Dropout, FeedForward, MultiHeadAttention, Rotary


class ConformerLayer(nn.Module):
    """A layer of the encoder of Gulati et al. 2020 (arXiv:2005.08100), with rotary positions.

    The convolution has layer normalization in place of batch normalization, and the feed-forward layers are gated, so
    that neither padding nor the other examples of a batch change a result.

    Args:
        dim: width of the features.
        heads: of the self-attention; dim is an even multiple of it.
        kernel: width of the convolution in steps; odd.
        dropout: on the output of each part, on attention weights and hidden features.
    """

    def __init__(self, dim: int, heads: int, *, kernel: int = 15, dropout: float = 0.1):
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel: must be odd, so that it has a middle, got {kernel}")

        def feed() -> nn.Sequential:
            return nn.Sequential(nn.LayerNorm(dim), FeedForward(dim, 2 * dim, gated=True, dropout=dropout))

        self.before, self.after = feed(), feed()
        self.attend = MultiHeadAttention(dim, heads, position=Rotary(dim // heads), dropout=dropout)
        self.attend_norm, self.convolve_norm, self.norm = (nn.LayerNorm(dim) for _ in range(3))
        self.gated = nn.Linear(dim, 2 * dim)
        self.convolution = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.inner_norm = nn.LayerNorm(dim)
        self.mixed = nn.Linear(dim, dim)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, dim)`` to the same shape; ``lengths`` int64 ``(B,)``, the steps that are no padding."""
        x = x + 0.5 * self.drop(self.before(x))
        y, _ = self.attend(self.attend_norm(x), mask=Lengths(lengths))
        x = x + self.drop(y)
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        y = F.glu(self.gated(self.convolve_norm(x)), -1) * real[..., None]
        y = self.convolution(y.transpose(1, 2)).transpose(1, 2)
        x = x + self.drop(self.mixed(F.silu(self.inner_norm(y))))
        output: Tensor = self.norm(x + 0.5 * self.drop(self.after(x)))
        return output
