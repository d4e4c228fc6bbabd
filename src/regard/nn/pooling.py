"""A sequence to a few vectors: learned queries attend over it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.attend import Look, Mask, Normalizer, View
from regard.nn.learned import SOFTMAX, Learned
from regard.nn.multihead import MultiHeadAttention


class AttentionPooling(nn.Module):
    """``MultiHead(S, X, X)`` with learned seed vectors S: pooling by multi-head attention.

    Lee et al. 2019 (arXiv:1810.00825), section 3.2, without the feed-forward layers around it; with one seed and one
    head it is the self-attentive embedding of Lin et al. 2017 (arXiv:1703.03130) with a dot-product score.

    Args:
        width: of the sequence and of the result.
        seeds: how many vectors come out.
        heads: of the attention.
        normalizer: any normalizer, or a `Learned` one.
        dropout: the probability that a weight is dropped in training.

    Raises:
        ValueError: ``seeds`` is not positive, or the other sizes do not fit: see `MultiHeadAttention`.
    """

    def __init__(
        self,
        width: int,
        *,
        seeds: int = 1,
        heads: int = 1,
        normalizer: Normalizer | Learned[Normalizer] = SOFTMAX,
        dropout: float = 0.0,
    ):
        super().__init__()
        if seeds < 1:
            raise ValueError(f"seeds: must be positive, got {seeds}")
        self.seeds = nn.Parameter(torch.empty(seeds, width))
        nn.init.xavier_uniform_(self.seeds)
        self.attention = MultiHeadAttention(width, heads, normalizer=normalizer, dropout=dropout)

    def forward(
        self, x: Tensor, *, mask: Mask | Tensor | None = None, look: Look | None = None
    ) -> tuple[Tensor, View | None]:
        """Pool.

        Args:
            x: ``(B, L, width)``.
            mask: as in `regard.attention`, with the seeds as queries; `Lengths` leaves padding out.
            look: what to see of the weights.

        Returns:
            ``(B, seeds, width)`` and the view, None without ``look``.
        """
        pooled: tuple[Tensor, View | None] = self.attention(
            self.seeds.expand(x.shape[0], -1, -1), x, mask=mask, look=look
        )
        return pooled
