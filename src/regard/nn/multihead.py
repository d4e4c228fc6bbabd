"""Multi-head attention: projections around `regard.attention`, self or cross, grouped, with positions and a cache."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from regard.attend import Causal, Dot, Look, Mask, Normalizer, Score, Softmax, View
from regard.attend.biases import Bias
from regard.nn.cache import KVCache
from regard.nn.layer import Device, Layer, Projection, check_kind, check_sequences
from regard.nn.learned import SOFTMAX, Learned, row_of, value_of
from regard.nn.optional_look import attend_heads
from regard.nn.positions import LearnedPositions, Rotary, SinusoidalPositions
from regard.nn.shown import ShownFirst

_DOT = Dot()


class Memory(NamedTuple):
    """Projected keys ``(B, Hk, Lk, E)`` and values ``(B, Hk, Lk, Ev)``."""

    key: Tensor
    value: Tensor


class MultiHeadAttention(Layer):
    """``Concat(head_1, …, head_H) W_O``, where each head attends with its own projections.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.2; fewer key heads than query heads: Ainslie et al. 2023
    (arXiv:2305.13245).

    Args:
        width: of queries and output.
        heads: H.
        key_heads: Hk, a divisor of H; None: H.
        head_width: of queries and keys in a head; None: ``width / heads``.
        value_width: of values in a head; None: ``head_width``.
        memory_width: of keys and values before projection; None: ``width``.
        memory_value_width: of values before projection, if different; None: ``memory_width``.
        bias: whether the four projections have a bias.
        score: any score, or a `Learned` one.
        score_bias: `ALiBi`, a `Learned` `RelativeBias` or any other, added to the scores.
        normalizer: any normalizer, or a `Learned` one; in evaluation `Hard` and `Variational` draw nothing.
        position: rotates queries and keys by their positions.
        key_position: added to the projected keys only, ``score(q, k + pos(k))``; of ``head_width``.
        dropout: the probability that a weight is dropped in training.
        extra_key: whether a learned key and value, the same in every sequence, are put before the others and seen by
            every query (``add_bias_kv`` of `torch.nn.MultiheadAttention`). In a view it is key 0.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

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
        memory_value_width: int | None = None,
        bias: bool = True,
        score: Score | Learned[Score] = _DOT,
        score_bias: Bias | Learned[Bias] | None = None,
        normalizer: Normalizer | Learned[Normalizer] = SOFTMAX,
        position: Rotary | None = None,
        key_position: SinusoidalPositions | LearnedPositions | None = None,
        dropout: float = 0.0,
        extra_key: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
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
        memory_value_width = memory_width if memory_value_width is None else memory_value_width
        if min(head_width, value_width, memory_width, memory_value_width) < 1:
            sizes = f"{head_width}, {value_width}, {memory_width}, {memory_value_width}"
            raise ValueError(
                f"head_width, value_width, memory_width and memory_value_width must be positive, got {sizes}"
            )
        if extra_key and score_bias is not None:
            raise ValueError("score_bias: cannot be used with extra_key, which has no position")

        def projection(inputs: int, outputs: int) -> Projection:
            return Projection(inputs, outputs, bias=bias, device=device, dtype=dtype)

        def extra(width: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(self.key_heads, width, device=device, dtype=dtype)) if extra_key else None

        self.query = projection(width, heads * head_width)
        self.key = projection(memory_width, self.key_heads * head_width)
        self.value = projection(memory_value_width, self.key_heads * value_width)
        self.output = projection(heads * value_width, width)
        self.extra_key, self.extra_value = extra(head_width), extra(value_width)
        self.score, self.score_bias, self.normalizer = score, score_bias, normalizer
        self.position, self.key_position, self.dropout = position, key_position, dropout
        self._reset_own()

    def _reset_own(self) -> None:
        for extra in (self.extra_key, self.extra_value):
            if extra is not None:
                nn.init.normal_(extra, std=extra.numel() ** -0.5)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        memory: Memory | None = None,
        mask: Mask | Tensor | None = None,
        cache: KVCache | None = None,
        real: Tensor | None = None,
        look: Look | None = None,
    ) -> tuple[Tensor, View | None]:
        """Attend.

        Args:
            query: ``(B, Lq, width)``, or ``(Lq, width)`` of a single sequence; the other inputs then have no B.
            key: ``(B, Lk, memory_width)``; None: the queries themselves (self-attention).
            value: ``(B, Lk, memory_value_width)``; None: ``key``.
            memory: the result of `project` for key and value, instead of them.
            mask: as in `regard.attention`.
            cache: for causal self-attention step by step: the new keys are added to those of the past, and ``query``
                comes after these. ``mask`` must then be None or `Causal`; both mean the same.
            real: with a cache, boolean ``(B, Lq)``: False is padding, before or after a prompt, which no query of this
                or a later step sees. Positions do not count padding; ``score_bias`` does, so with one, pad before the
                prompt.
            look: what to report about the weights.

        Returns:
            The output, of query's shape, and the view, None without ``look``.

        Raises:
            TypeError: an input is nested or a DTensor.
            ValueError: ``query`` has neither 2 nor 3 dimensions, or the others have another number; a cache is given
                together with a key or a memory, or with a mask other than `Causal`; ``real`` without a cache; a memory
                together with a key.
        """
        check_sequences(query, key=key, value=value)
        if memory is not None or cache is not None or real is not None:
            _check_sources(key, value, memory, mask, cache, real)
        start, positions = (0, None) if cache is None else _positions(cache, query, real)
        if memory is None:
            memory = self.project(query if key is None else key, value, start, positions)
        keys, values = memory
        if keys.dim() != query.dim() + 1:
            raise ValueError(f"memory: was projected from {keys.dim() - 1} dimensions, query has {query.dim()}")
        queries = _split(self.query(query), self.heads)
        if self.position is not None:
            queries = self.position(queries, start, positions=positions)
        if cache is not None:
            keys, values, mask = _append(cache, keys, values, real)
        if self.extra_key is not None and self.extra_value is not None:
            keys, values = _before(keys, self.extra_key), _before(values, self.extra_value)
            mask = None if mask is None else ShownFirst(mask)
        output, view = attend_heads(
            queries, keys, values, look, mask=mask, score=value_of(self.score),
            bias=None if self.score_bias is None else value_of(self.score_bias),
            normalizer=row_of(self.normalizer, self.dropout, self.training),
        )  # fmt: skip
        merged: Tensor = self.output(output.transpose(-3, -2).flatten(-2))
        return merged, view

    def project(
        self, key: Tensor, value: Tensor | None = None, start: int = 0, positions: Tensor | None = None
    ) -> Memory:
        """Keys ``(B, Hk, Lk, E)`` and values ``(B, Hk, Lk, Ev)`` of the heads, for many calls with the same memory.

        Args:
            key: ``(B, Lk, memory_width)``, or ``(Lk, memory_width)`` of a single sequence.
            value: ``(B, Lk, memory_value_width)``; None: ``key``.
            start: the position of the first key.
            positions: int64 ``(B, Lk)`` or ``(Lk,)``, instead of those from ``start`` on.
        """
        check_kind("key", key)
        of_key, of_value = self.key, self.value  # each look-up in a module takes half a microsecond
        if value is None and of_value.in_features != of_key.in_features:
            raise ValueError(
                f"value: must be given, of width {of_value.in_features}: keys have width {of_key.in_features}"
            )
        keys, values = of_key(key), of_value(key if value is None else value)
        keys, values = _split(keys, self.key_heads), _split(values, self.key_heads)
        for position in (self.key_position, self.position):
            if position is not None:
                keys = position(keys, start, positions=positions)
        return Memory(keys, values)

    def projections(self) -> Tensor:
        """The part of the output projection that each head's values pass through, ``(H, value_width, width)``.

        ``Look(norms=layer.projections())`` gives the norms of Kobayashi et al. 2020 (arXiv:2004.10102).
        """
        parts: Tensor = self.output.weight.T.unflatten(0, (self.heads, -1))
        return parts

    @classmethod
    def from_torch(cls, layer: nn.MultiheadAttention) -> MultiHeadAttention:
        """The same layer with the weights of PyTorch's own, copied; batches always come first here.

        Weights that are frozen (``requires_grad`` is False) stay so. ``add_bias_kv`` becomes ``extra_key``, and
        ``add_zero_attn`` a sink whose logit is 0 and frozen.

        Args:
            layer: its dropout is kept; its masks mean the opposite (True hides there).
        """
        like, heads = layer.out_proj.weight, layer.num_heads
        normalizer: Normalizer | Learned[Normalizer] = SOFTMAX
        if layer.add_zero_attn:
            normalizer = Learned(Softmax, sink=torch.zeros(heads, device=like.device, dtype=like.dtype))
            normalizer.requires_grad_(False)
        made = cls(
            layer.embed_dim, heads, memory_width=layer.kdim, memory_value_width=layer.vdim,
            bias=layer.in_proj_bias is not None, normalizer=normalizer, dropout=layer.dropout,
            extra_key=layer.bias_k is not None, device=like.device, dtype=like.dtype,
        )  # fmt: skip
        inputs = made.query, made.key, made.value
        for own, name in zip(inputs, ("q_proj_weight", "k_proj_weight", "v_proj_weight"), strict=True):
            if getattr(layer, name) is not None:
                _take(own.weight, getattr(layer, name), getattr(layer, name))
        for name, joined in (("weight", layer.in_proj_weight), ("bias", layer.in_proj_bias)):
            if joined is not None:
                for own, part in zip(inputs, joined.chunk(3), strict=True):
                    _take(getattr(own, name), part, joined)
        _take(made.output.weight, like, like)
        if layer.in_proj_bias is not None:
            _take(made.output.bias, layer.out_proj.bias, layer.out_proj.bias)
        for extra, theirs in ((made.extra_key, layer.bias_k), (made.extra_value, layer.bias_v)):
            if extra is not None and theirs is not None:
                _take(extra, theirs.view_as(extra), theirs)
        return made.train(layer.training)


def _check_sources(
    key: Tensor | None,
    value: Tensor | None,
    memory: Memory | None,
    mask: Mask | Tensor | None,
    cache: KVCache | None,
    real: Tensor | None,
) -> None:
    """Refuse combinations of arguments of `MultiHeadAttention.forward` that exclude each other."""
    alone = key is None and value is None
    if cache is not None and not (alone and memory is None):
        raise ValueError("cache: is for self-attention; project a memory once instead, with project(key, value)")
    if cache is not None and mask is not None and not (isinstance(mask, Causal) and mask.offset is None):
        raise ValueError(f"mask: with a cache it must be None or Causal(), got {mask!r}")
    if memory is not None and not alone:
        raise ValueError("memory: replaces key and value; give only one of them")
    if real is not None and cache is None:
        raise ValueError("real: is for steps with a cache; without one give a mask, such as Lengths(…)")


def _positions(cache: KVCache, query: Tensor, real: Tensor | None) -> tuple[int, Tensor | None]:
    """The position of the first query, and those of all queries if padding makes them differ between sequences."""
    steps = query.shape[-2]
    if query.dim() == 3:
        return cache.position, cache.positions(steps, real)
    positions = cache.positions(steps, None if real is None else real[None])
    return cache.position, None if positions is None else positions[0]


def _append(
    cache: KVCache, key: Tensor, value: Tensor, real: Tensor | None
) -> tuple[Tensor, Tensor, Mask | Tensor | None]:
    """All keys and values that a step attends to, and its mask."""
    if key.dim() == 4:
        return cache.append(key, value, real)
    step = cache.append(key[None], value[None], None if real is None else real[None])
    return step.key[0], step.value[0], step.mask


def _split(features: Tensor, heads: int) -> Tensor:
    """``(…, L, heads · E)`` → ``(…, heads, L, E)``."""
    split: Tensor = features.unflatten(-1, (heads, -1))
    return split.transpose(-3, -2)


def _before(tensor: Tensor, extra: Tensor) -> Tensor:
    """``tensor`` ``(…, Hk, Lk, E)`` with ``extra`` ``(Hk, E)`` before its keys."""
    return torch.cat([extra[:, None].expand(*tensor.shape[:-2], 1, -1).to(tensor.dtype), tensor], -2)


def _take(own: Tensor, value: Tensor, source: Tensor) -> None:
    """Copy ``value``, which is all or a part of the parameter ``source``, and freeze it if ``source`` is frozen."""
    with torch.no_grad():
        own.copy_(value)
    own.requires_grad_(source.requires_grad)
