"""A Transformer layer: attention and a feed-forward layer, each with a residual connection; and logits of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from regard.attend import Look, Mask, View
from regard.nn import Dropout, FeedForward, KVCache, MultiHeadAttention
from regard.nn.multihead import Memory

NormOrder = Literal["pre", "post"]


class Residual(nn.Module):
    """``norm(x + f(x))`` (post), as in Vaswani et al. 2017, or ``x + f(norm(x))`` (pre; Xiong et al. 2020,
    arXiv:2002.04745), with dropout on the output of f."""

    def __init__(self, norm: nn.Module, order: NormOrder, dropout: float):
        super().__init__()
        self.norm, self.order, self.dropout = norm, order, Dropout(dropout)

    def enter(self, x: Tensor) -> Tensor:
        """The input of f, from the residual stream ``x`` ``(…, width)``."""
        inputs: Tensor = self.norm(x) if self.order == "pre" else x
        return inputs

    def leave(self, x: Tensor, y: Tensor) -> Tensor:
        """The residual stream after f returned ``y``."""
        added: Tensor = x + self.dropout(y)
        normed: Tensor = added if self.order == "pre" else self.norm(added)
        return normed


class TransformerLayer(nn.Module):
    """Self-attention, optionally attention to a memory, and a feed-forward layer.

    Args:
        attend: the self-attention, or a module that is called in the same way.
        cross: the attention to the memory; None: no memory.
        feed: the feed-forward layer.
        norm: creates a normalization layer.
        order: ``"pre"`` or ``"post"``: normalization before each sublayer or after it.
        dropout: on the output of each sublayer.
    """

    def __init__(
        self,
        attend: nn.Module,
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
            x: the residual stream.
            mask: of the self-attention.
            memory: the result of the cross-attention's `MultiHeadAttention.project` for the encoder's output.
            memory_mask: of the cross-attention.
            cache: of the self-attention, for decoding step by step.
            look: what to report about the cross-attention, or about the self-attention if there is no other.

        Returns:
            The residual stream ``(B, L, width)``, and the view, None without ``look``.
        """
        own = look if self.cross is None else None
        y, view = self.attend(self.around_attend.enter(x), mask=mask, cache=cache, look=own)
        x = self.around_attend.leave(x, y)
        if self.cross is not None and self.around_cross is not None:
            y, view = self.cross(self.around_cross.enter(x), memory=memory, mask=memory_mask, look=look)
            x = self.around_cross.leave(x, y)
        return self.around_feed.leave(x, self.feed(self.around_feed.enter(x))), view


def class_logits(output: nn.Linear, vectors: Tensor) -> Tensor:
    """Logits ``(B, classes)`` from the vectors of inputs ``(B, Q, width)``.

    Args:
        output: the layer from a vector to the logits of all classes.
        vectors: one for all classes (Q is 1), or one for each of them.
    """
    if vectors.shape[1] == 1:
        logits: Tensor = output(vectors[:, 0])
        return logits
    return (vectors * output.weight).sum(-1) + output.bias


def real_places(count: int, lengths: Tensor) -> Tensor:
    """1 for the places below the length of each sequence, 0 for padding: ``(B, count)``; ``lengths`` int64 ``(B,)``.

    >>> real_places(3, torch.tensor([1, 3]))
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    return (torch.arange(count, device=lengths.device) < lengths[:, None]).float()
