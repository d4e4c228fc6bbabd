"""Pooling of a sequence to a few vectors: learned queries attend to it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.attend import Dot, Look, Mask, Normalizer, Score, View
from regard.nn.layer import Device, Layer, check_shape
from regard.nn.learned import SOFTMAX, Learned
from regard.nn.multihead import MultiHeadAttention

_DOT = Dot()


class AttentionPooling(Layer):
    """``MultiHead(S, X, X)`` with learned seed vectors S: pooling by multi-head attention.

    Lee et al. 2019 (arXiv:1810.00825), section 3.2, without the feed-forward layers around it; with one seed and one
    head it is the self-attentive embedding of Lin et al. 2017 (arXiv:1703.03130), with a dot-product score by default.

    Args:
        width: of the sequence and of the result.
        seeds: the number of output vectors.
        heads: of the attention.
        score: any score, or a `Learned` one.
        normalizer: any normalizer, or a `Learned` one.
        dropout: the probability that a weight is dropped in training.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: ``seeds`` is not positive, or the other sizes do not fit: see `MultiHeadAttention`.

    Example:
        >>> vectors, _ = AttentionPooling(8, seeds=3, heads=2)(torch.randn(2, 50, 8))
        >>> vectors.shape
        torch.Size([2, 3, 8])
    """

    def __init__(
        self,
        width: int,
        *,
        seeds: int = 1,
        heads: int = 1,
        score: Score | Learned[Score] = _DOT,
        normalizer: Normalizer | Learned[Normalizer] = SOFTMAX,
        dropout: float = 0.0,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if seeds < 1:
            raise ValueError(f"seeds: must be positive, got {seeds}")
        self.seeds = nn.Parameter(torch.empty(seeds, width, device=device, dtype=dtype))
        self.attention = MultiHeadAttention(
            width, heads, score=score, normalizer=normalizer, dropout=dropout, device=device, dtype=dtype
        )
        self._reset_own()

    def _reset_own(self) -> None:
        nn.init.xavier_uniform_(self.seeds)

    def forward(
        self, x: Tensor, *, mask: Mask | Tensor | None = None, look: Look | None = None
    ) -> tuple[Tensor, View | None]:
        """Pool.

        Args:
            x: ``(B, L, width)``, or ``(L, width)`` of a single sequence.
            mask: as in `regard.attention`, with the seeds as queries; `Lengths` hides padding.
            look: what to report about the weights.

        Returns:
            ``(B, seeds, width)``, of ``x``'s rank, and the view, None without ``look``.

        Raises:
            ValueError: ``x`` has neither 2 nor 3 dimensions.
        """
        check_shape("x", x, "B L width", "L width")
        pooled: tuple[Tensor, View | None] = self.attention(
            self.seeds.expand(*x.shape[:-2], -1, -1), x, mask=mask, look=look
        )
        return pooled
