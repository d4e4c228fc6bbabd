"""Multi-head attention: projections around `regard.attention`, self or cross, grouped, with positions and a cache."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from regard.attend import Causal, Dot, Look, Mask, Normalizer, Score, View
from regard.attend.biases import Bias
from regard.nn.cache import KVCache
from regard.nn.learned import SOFTMAX, Learned, row_of, value_of
from regard.nn.optional_look import attend_heads
from regard.nn.positions import LearnedPositions, Rotary, SinusoidalPositions

_DOT = Dot()


class Memory(NamedTuple):
    """Projected keys ``(B, Hk, Lk, E)`` and values ``(B, Hk, Lk, Ev)``."""

    key: Tensor
    value: Tensor


class MultiHeadAttention(nn.Module):
    """``Concat(head_1, …, head_H) W_O``, each head an attention of its own projections.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.2; fewer key heads than query heads: Ainslie et al. 2023
    (arXiv:2305.13245).

    Args:
        width: of queries and output.
        heads: H.
        key_heads: Hk, a divisor of H; None: H.
        head_width: of queries and keys in a head; None: ``width / heads``.
        value_width: of values in a head; None: ``head_width``.
        memory_width: of keys and values before projection; None: ``width``.
        bias: whether the four projections have one.
        score: any score, or a `Learned` one.
        score_bias: `ALiBi`, a `Learned` `RelativeBias` or any other, added to the scores.
        normalizer: any normalizer, or a `Learned` one; in evaluation `Hard` and `Variational` draw nothing.
        position: turns queries and keys by their positions.
        key_position: added to the projected keys alone, ``score(q, k + pos(k))``; of ``head_width``.
        dropout: the probability that a weight is dropped in training.

    Raises:
        ValueError: the sizes do not fit each other, or ``dropout`` is out of range.

    Example:
        >>> layer = MultiHeadAttention(64, 8, key_heads=2)
        >>> output, view = layer(torch.randn(2, 10, 64), look=Look(entropy=True))
        >>> output.shape, view.entropy.shape
        (torch.Size([2, 10, 64]), torch.Size([2, 8, 10]))
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        key_heads: int | None = None,
        head_width: int | None = None,
        value_width: int | None = None,
        memory_width: int | None = None,
        bias: bool = True,
        score: Score | Learned[Score] = _DOT,
        score_bias: Bias | Learned[Bias] | None = None,
        normalizer: Normalizer | Learned[Normalizer] = SOFTMAX,
        position: Rotary | None = None,
        key_position: SinusoidalPositions | LearnedPositions | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if width < 1 or heads < 1 or (head_width is None and width % heads):
            raise ValueError(f"width: must be a positive multiple of heads, {heads}, or head_width given; got {width}")
        self.heads, self.key_heads = heads, heads if key_heads is None else key_heads
        if self.key_heads < 1 or heads % self.key_heads:
            raise ValueError(f"key_heads: must divide heads, {heads}, got {key_heads}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: must be at least 0 and below 1, got {dropout}")
        head_width = width // heads if head_width is None else head_width
        value_width = head_width if value_width is None else value_width
        memory_width = width if memory_width is None else memory_width
        if min(head_width, value_width, memory_width) < 1:
            sizes = f"{head_width}, {value_width}, {memory_width}"
            raise ValueError(f"head_width, value_width and memory_width must be positive, got {sizes}")
        self.query = nn.Linear(width, heads * head_width, bias=bias)
        self.key = nn.Linear(memory_width, self.key_heads * head_width, bias=bias)
        self.value = nn.Linear(memory_width, self.key_heads * value_width, bias=bias)
        self.output = nn.Linear(heads * value_width, width, bias=bias)
        self.score, self.score_bias, self.normalizer = score, score_bias, normalizer
        self.position, self.key_position, self.dropout = position, key_position, dropout
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            if bias:
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        memory: Memory | None = None,
        mask: Mask | Tensor | None = None,
        cache: KVCache | None = None,
        look: Look | None = None,
    ) -> tuple[Tensor, View | None]:
        """Attend.

        Args:
            query: ``(B, Lq, width)``.
            key: ``(B, Lk, memory_width)``; None: the queries themselves (self-attention).
            value: ``(B, Lk, memory_width)``; None: ``key``.
            memory: what `project` made of key and value, instead of them.
            mask: as in `regard.attention`.
            cache: of a causal self-attention that goes step by step: the new keys join those of the past, and ``query``
                stands after them. ``mask`` then must be None or `Causal`, which it is anyway. No gradient goes to the
                past.
            look: what to see of the weights.

        Returns:
            The output ``(B, Lq, width)`` and the view, None without ``look``.

        Raises:
            ValueError: a cache is given together with a key or a memory, or with a mask other than `Causal`; a memory
                together with a key.
        """
        if cache is not None and not (key is None and value is None and memory is None):
            raise ValueError("cache: is for self-attention; project a memory once instead, with project(key, value)")
        if cache is not None and mask is not None and not (isinstance(mask, Causal) and mask.offset is None):
            raise ValueError(f"mask: with a cache it must be None or Causal(), got {mask!r}")
        if memory is not None and not (key is None and value is None):
            raise ValueError("memory: stands for key and value, which are given too")
        start = 0 if cache is None else cache.position
        if memory is None:
            memory = self.project(query if key is None else key, value, start)
        k, v = memory
        q = self._heads(self.query(query), self.heads)
        if self.position is not None:
            q = self.position(q, start)
        if cache is not None:
            step = cache.append(k, v)
            k, v, mask = step.key, step.value, step.mask
        options = {
            "score": value_of(self.score),
            "bias": None if self.score_bias is None else value_of(self.score_bias),
            "normalizer": row_of(self.normalizer, self.dropout, self.training),
            "mask": mask,
        }
        output, view = attend_heads(q, k, v, look, **options)
        merged: Tensor = self.output(output.transpose(1, 2).flatten(2))
        return merged, view

    def project(self, key: Tensor, value: Tensor | None = None, start: int = 0) -> Memory:
        """Keys ``(B, Hk, Lk, E)`` and values ``(B, Hk, Lk, Ev)`` of the heads, for many calls with the same memory.

        Args:
            key: ``(B, Lk, memory_width)``.
            value: the same; None: ``key``.
            start: the position of the first key.
        """
        keys, values = self._heads(self.key(key), self.key_heads), self.value(key if value is None else value)
        for position in (self.key_position, self.position):
            keys = keys if position is None else position(keys, start)
        return Memory(keys, self._heads(values, self.key_heads))

    def projections(self) -> Tensor:
        """The part of the output projection that each head's values pass through, ``(H, value_width, width)``.

        ``Look(norms=layer.projections())`` gives the norms of Kobayashi et al. 2020 (arXiv:2004.10102).
        """
        parts: Tensor = self.output.weight.T.unflatten(0, (self.heads, -1))
        return parts

    @classmethod
    def from_torch(cls, layer: nn.MultiheadAttention) -> MultiHeadAttention:
        """The same layer with the weights of PyTorch's own, copied; batches always come first here.

        Args:
            layer: its dropout is taken over; its masks mean the opposite (True hides there).

        Raises:
            ValueError: the layer has ``bias_k``, ``add_zero_attn``, or keys and values of different widths.
        """
        if layer.bias_k is not None or layer.add_zero_attn:
            raise ValueError("layer: add_bias_kv and add_zero_attn have no counterpart here")
        if layer.kdim != layer.vdim:
            raise ValueError(f"layer: kdim and vdim must be equal, got {layer.kdim} and {layer.vdim}")
        width, bias = layer.embed_dim, layer.in_proj_bias is not None
        made = cls(width, layer.num_heads, memory_width=layer.kdim, bias=bias, dropout=layer.dropout)
        if layer.in_proj_weight is not None:
            weights = layer.in_proj_weight.chunk(3)
        else:
            weights = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
        like = layer.out_proj.weight
        made.to(like.device, like.dtype).train(layer.training)
        with torch.no_grad():
            for own, weight in zip((made.query, made.key, made.value), weights, strict=True):
                own.weight.copy_(weight)
            made.output.weight.copy_(layer.out_proj.weight)
            if bias:
                for own, part in zip((made.query, made.key, made.value), layer.in_proj_bias.chunk(3), strict=True):
                    own.bias.copy_(part)
                made.output.bias.copy_(layer.out_proj.bias)
        return made

    @staticmethod
    def _heads(features: Tensor, heads: int) -> Tensor:
        """``(B, L, heads · E)`` → ``(B, heads, L, E)``."""
        split: Tensor = features.unflatten(-1, (heads, -1))
        return split.transpose(1, 2)
