"""Biases that are added to the scores: a tensor, or one value for each distance, which is never expanded to Lq × Lk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from regard.attend import kinds
from regard.attend.numbers import is_whole_or_symbolic

__all__ = ["ALiBi", "Bias", "RelativeBias"]

Shape = tuple[int, int, int, int]
"""The shape of the scores, (B, H, Lq, Lk)."""


class Lowered(NamedTuple):
    """A bias in the terms of the kernels: see ``bias`` and ``relative`` of `regard.kernels.plan.Plan`."""

    bias: Tensor | None = None
    relative: Tensor | None = None


class Bias:
    """The base class of biases, which are added to the scores. A plain tensor is a bias too.

    A bias of your own is a subclass with the method `values`. Every backend that takes a tensor as bias runs it, with
    its gradient.

    >>> import torch
    >>> from regard import Bias, Dot, attention
    >>> class Parity(Bias):  # favours keys at an even distance
    ...     def values(self, shape, query):
    ...         rows, columns = (torch.arange(length, device=query.device) for length in shape[2:])
    ...         return ((rows[:, None] + columns) % 2 == 0).to(query.dtype) * 2
    >>> zeros = torch.zeros(2, 1)
    >>> attention(zeros, zeros, torch.eye(2), bias=Parity()).round(decimals=3)
    tensor([[0.8810, 0.1190],
            [0.1190, 0.8810]])
    """

    def values(self, shape: Shape, query: Tensor) -> Tensor:
        """The numbers that are added to the scores.

        Args:
            shape: of the scores, (B, H, Lq, Lk).
            query: ``(B, H, Lq, E)``, for its device and dtype.

        Returns:
            A tensor that broadcasts to ``shape``, in query's dtype or float32.
        """
        raise TypeError(f"bias: {type(self).__name__} must define values(self, shape, query)")

    def lower(self, shape: Shape, query: Tensor) -> Lowered:
        """Lower for the kernels; a subclass with `values` need not define it."""
        name, values = f"{type(self).__name__}.values", self.values(shape, query)
        kinds.check(query=query, **{f"bias: {name}": values})
        return _dense(name, values, shape, query)


@dataclass(frozen=True, eq=False)
class ALiBi(Bias):
    """``−slope · |p_i − j|`` for each head; p_i = i + offset is the query's position (Press et al. 2022,
    arXiv:2108.12409).

    Attributes:
        slopes: ``(H,)``; None: the paper's for H heads, 2^(−8/H), 2^(−16/H), … for a power of two, and every second one
            of the next power for the rest.
        offset: Lk − Lq by default.

    Example:
        >>> from regard import Causal, Look, attention
        >>> words = torch.zeros(4, 1)
        >>> options = {"bias": ALiBi(slopes=torch.tensor([1.0])), "mask": Causal()}
        >>> _, view = attention(words, words, words, **options, look=Look(rows=[3]))
        >>> view.rows.round(decimals=3)  # nearer keys weigh more
        tensor([[0.0320, 0.0870, 0.2370, 0.6440]])
    """

    slopes: Tensor | None = None
    offset: int | None = None

    def lower(self, shape: Shape, query: Tensor) -> Lowered:
        """Lower for the kernels. Raises ValueError or TypeError: ``slopes`` does not fit the heads."""
        precise = torch.promote_types(query.dtype, torch.float32)
        if self.slopes is None:
            slopes = torch.tensor(alibi_slopes(shape[1]), dtype=precise, device=query.device)
        else:
            slopes = _check("ALiBi.slopes", self.slopes, query, ((shape[1],),)).to(precise)
        distances = _distances(self, shape, query.device).abs()
        return Lowered(relative=-slopes[:, None] * distances)


@dataclass(frozen=True, eq=False)
class RelativeBias(Bias):
    """A learned number for each head and bucket of distances ``j − p_i``; p_i = i + offset is the query's position.

    Attributes:
        table: ``(H, n)`` or, shared by the heads, ``(n,)``.
        buckets: ``"t5"``: one bucket for each small distance, then wider and wider ones (Raffel et al. 2020,
            arXiv:1910.10683); ``"clipped"``: one for each distance from −m to m, n = 2m + 1, with larger distances as m
            (Shaw et al. 2018, arXiv:1803.02155, as one number).
        max_distance: the distance from which on all share a bucket (t5; default 128).
        bidirectional: whether keys after the query have their own buckets; otherwise they count as distance 0 (t5;
            default True).
        offset: Lk − Lq by default.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(3, 1)
        >>> table = torch.tensor([0.0, 0.0, 2.0])  # for the key before the query, its own, and the one after it
        >>> _, view = attention(words, words, words, bias=RelativeBias(table, "clipped"), look=Look(rows=[0, 1]))
        >>> view.rows.round(decimals=3)
        tensor([[0.0630, 0.4680, 0.4680],
                [0.1070, 0.1070, 0.7870]])
    """

    table: Tensor
    buckets: Literal["t5", "clipped"] = "t5"
    max_distance: int | None = None
    bidirectional: bool | None = None
    offset: int | None = None

    def lower(self, shape: Shape, query: Tensor) -> Lowered:
        """Lower for the kernels. Raises ValueError or TypeError: the table does not fit the heads or the buckets."""
        if not isinstance(self.table, Tensor) or self.table.dim() not in (1, 2) or self.table.shape[0] < 1:
            raise ValueError(
                f"bias: RelativeBias.table must be a tensor ({shape[1]}, n) or (n,), got {_shape(self.table)}"
            )
        count = self.table.shape[-1]
        table = _check("RelativeBias.table", self.table, query, ((shape[1], count), (count,)))
        distances = _distances(self, shape, query.device)
        if self.buckets == "t5":
            buckets = self._t5(distances, count)
        elif self.buckets == "clipped":
            buckets = self._clipped(distances, count)
        else:
            raise ValueError(f"bias: RelativeBias.buckets must be 't5' or 'clipped', got {self.buckets!r}")
        return Lowered(relative=table.view(-1, count).index_select(1, buckets))

    def _t5(self, distances: Tensor, count: int) -> Tensor:
        both = True if self.bidirectional is None else self.bidirectional
        side = count // 2 if both else count
        near = side // 2
        farthest = 128 if self.max_distance is None else self.max_distance
        if count < 2 * (1 + both) or (both and count % 2):
            allowed = "an even number of buckets, at least 4," if both else "at least 2 buckets"
            raise ValueError(f"bias: RelativeBias.table must have {allowed} for t5, got {count}")
        if farthest <= near:
            raise ValueError(
                f"bias: RelativeBias.max_distance must be above {near} for {count} buckets, got {farthest}"
            )
        away = distances.abs() if both else (-distances).clamp(min=0)
        # T5 computes the logarithm in float32; a distance at the edge of a bucket must fall on the same side here.
        ratio = (away.clamp(min=1).float() / near).log() / math.log(farthest / near) * (side - near)
        bucket = torch.where(away < near, away, (near + ratio.long()).clamp(max=side - 1))
        return bucket + torch.where(distances > 0, side, 0) if both else bucket

    def _clipped(self, distances: Tensor, count: int) -> Tensor:
        if count % 2 == 0:
            raise ValueError(
                f"bias: RelativeBias.table must have 2m + 1 buckets for clipped, an odd number, got {count}"
            )
        for name in ("max_distance", "bidirectional"):
            if getattr(self, name) is not None:
                raise ValueError(f"bias: RelativeBias.{name} is for t5; clipped has the distances that its table has")
        return distances.clamp(-(count // 2), count // 2) + count // 2


_NO_BIAS = Lowered()


def lower(bias: Bias | Tensor | None, shape: Shape, query: Tensor) -> Lowered:
    """``bias`` in the terms of the kernels, for scores of ``shape`` (B, H, Lq, Lk).

    Raises:
        TypeError: it is not a bias, or its dtype is not that of query.
        ValueError: its shape or device does not fit.
    """
    if bias is None:
        return _NO_BIAS
    if isinstance(bias, Bias):
        return bias.lower(shape, query)
    if not isinstance(bias, Tensor):
        raise TypeError(f"bias: expected a tensor, ALiBi(…), RelativeBias(…) or another Bias, got {bias!r}")
    if bias.dtype is torch.bool:
        raise TypeError("bias: got a boolean tensor, which is a mask: give it as mask=")
    return _dense("", bias, shape, query)


def _dense(name: str, bias: Tensor, shape: Shape, query: Tensor) -> Lowered:
    got = tuple(bias.shape) if isinstance(bias, Tensor) else ()
    if len(got) > 4 or any(have not in (1, want) for have, want in zip(got[::-1], shape[::-1], strict=False)):
        label = f"{name} " if name else ""
        raise ValueError(f"bias: {label}must broadcast to (B, H, Lq, Lk) = {shape}, got shape {got}")
    return Lowered(bias=_check(name, bias, query, (got,))[(None,) * (4 - len(got))])


def alibi_slopes(heads: int) -> list[float]:
    """The slopes of Press et al. 2022 for ``heads`` heads."""
    power = 1 << (max(1, heads).bit_length() - 1)
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(min(heads, power))]
    return slopes + [2 ** (-4 * (2 * head + 1) / power) for head in range(heads - power)]


def _distances(bias: ALiBi | RelativeBias, shape: Shape, device: torch.device) -> Tensor:
    """``j − p_i`` for each entry of the plan's ``relative``."""
    _, _, queries, keys = shape
    shift = keys - queries if bias.offset is None else bias.offset
    if not is_whole_or_symbolic(shift):
        raise TypeError(f"bias: {type(bias).__name__}.offset must be a whole number or None, got {shift!r}")
    return torch.arange(max(0, queries + keys - 1), device=device) - (queries - 1 + shift)


def _check(name: str, tensor: Tensor, query: Tensor, shapes: tuple[tuple[int, ...], ...]) -> Tensor:
    label = f"{name} " if name else ""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"bias: {label}must be a tensor, got {_shape(tensor)}")
    if tuple(tensor.shape) not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"bias: {label}must have shape {wanted}, got {tuple(tensor.shape)}")
    if tensor.device != query.device:
        raise ValueError(f"bias: {label}is on {tensor.device}, query on {query.device}")
    if tensor.dtype not in (query.dtype, torch.promote_types(query.dtype, torch.float32)):
        raise TypeError(f"bias: {label}must have query's dtype {query.dtype} or float32, got {tensor.dtype}")
    return tensor


def _shape(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
