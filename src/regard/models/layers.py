"""A Transformer's layer: attention and a feed-forward part, each around a residual path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from regard.attend import Look, Mask, View
from regard.nn import FeedForward, KVCache, MultiHeadAttention
from regard.nn.multihead import Memory

NormOrder = Literal["pre", "post"]


class Residual(nn.Module):
    """``norm(x + f(x))`` (post), as in Vaswani et al. 2017, or ``x + f(norm(x))`` (pre; Xiong et al. 2020,
    arXiv:2002.04745), with dropout on what is added."""

    def __init__(self, norm: nn.Module, order: NormOrder, dropout: float):
        super().__init__()
        self.norm, self.order, self.dropout = norm, order, nn.Dropout(dropout)

    def forward(self, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """``part`` around the path ``x`` ``(…, width)``."""
        if self.order == "pre":
            added: Tensor = x + self.dropout(part(self.norm(x)))
            return added
        normed: Tensor = self.norm(x + self.dropout(part(x)))
        return normed


class TransformerLayer(nn.Module):
    """Self-attention, attention to a memory if there is a layer for it, feed-forward.

    Args:
        attend: the self-attention.
        cross: the attention to the memory; None: there is none.
        feed: the feed-forward part.
        norm: makes one more normalization layer of the right width.
        order: where the normalization stands.
        dropout: on what each part adds.
    """

    def __init__(
        self,
        attend: MultiHeadAttention,
        feed: FeedForward,
        norm: Callable[[], nn.Module],
        *,
        cross: MultiHeadAttention | None = None,
        order: NormOrder = "pre",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.attend, self.cross, self.feed = attend, cross, feed
        self.around_attend = Residual(norm(), order, dropout)
        self.around_cross = Residual(norm(), order, dropout) if cross is not None else None
        self.around_feed = Residual(norm(), order, dropout)

    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        *,
        memory: Memory | None = None,
        memory_mask: Mask | None = None,
        cache: KVCache | None = None,
        look: Look | None = None,
    ) -> tuple[Tensor, View | None]:
        """One layer over ``x`` ``(B, L, width)``.

        Args:
            x: the path.
            mask: of the self-attention.
            memory: what the cross-attention's `MultiHeadAttention.project` made of the encoder's output.
            memory_mask: who sees what of it.
            cache: of the self-attention, to go step by step.
            look: what to see of the cross-attention, or of the self-attention where there is no other.

        Returns:
            The path ``(B, L, width)``, and the view, None without ``look``.
        """
        seen: list[View | None] = [None]

        def attend(y: Tensor) -> Tensor:
            found: tuple[Tensor, View | None]
            found = self.attend(y, mask=mask, cache=cache, look=look if self.cross is None else None)
            seen[0] = found[1]
            return found[0]

        x = self.around_attend(x, attend)
        if self.cross is not None and self.around_cross is not None:
            layer = self.cross

            def cross(y: Tensor) -> Tensor:
                found: tuple[Tensor, View | None] = layer(y, memory=memory, mask=memory_mask, look=look)
                seen[0] = found[1]
                return found[0]

            x = self.around_cross(x, cross)
        return self.around_feed(x, self.feed), seen[0]
