"""Random bits that are a function of (seed, batch, head, query, key), so that they need not be stored.

Every backend computes the same bits, in any order, in the forward pass and again in the backward pass. The mixing
function is Chris Wellons's ``lowbias32``, a bijection of 32 bits from a search for the lowest bias
(https://nullprogram.com/blog/2018/07/31/).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regard.kernels.plan import Plan

_LOW = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9
_ROUNDS = ((16, 0x7FEB352D), (15, 0x846CA68B))

DROPOUT, NORMALIZER = 1, 2
"""Streams: what the bits are used for. Bits of different streams are independent."""


def bits(plan: Plan, seed: Tensor, stream: int) -> Tensor:
    """32 random bits for each query and key, int32 ``(B, H, Lq, Lk)``.

    ``mix(row ^ (key · golden))``, where ``row`` is the hash of, in this order, the halves of the seed, the stream, the
    batch, the head and the query. All arithmetic is modulo 2³².
    """
    batch, heads, queries, _ = plan.query.shape
    keys, device = plan.key.shape[2], plan.query.device

    def count(size: int) -> Tensor:
        return torch.arange(size, device=device)

    row = _mix(seed.to(device) & _LOW)
    for part in (
        (seed.to(device) >> 32) & _LOW,
        torch.full((), stream, device=device),
        count(batch)[:, None, None],
        count(heads)[:, None],
        count(queries) if plan.rows is None else plan.rows,
    ):
        row = _mix(row ^ (part * _GOLDEN & _LOW))
    mixed = _signed(row)[..., None] ^ _signed(count(keys) * _GOLDEN & _LOW)
    for shift, factor in _ROUNDS:
        mixed ^= (mixed >> shift).bitwise_and_(_LOW >> shift)
        mixed *= factor - (1 << 32 if factor >> 31 else 0)
    mixed ^= (mixed >> 16).bitwise_and_(_LOW >> 16)
    return mixed


def kept(plan: Plan) -> Tensor:
    """Which weights dropout keeps, boolean ``(B, H, Lq, Lk)``: those whose signed bits are at least ``p·2³² − 2³¹``."""
    assert plan.dropout_seed is not None
    return bits(plan, plan.dropout_seed, DROPOUT) >= round(plan.dropout * 2**32) - 2**31


def gumbel(plan: Plan, dtype: torch.dtype) -> Tensor:
    """Standard Gumbel noise, ``−ln(−ln u)``; u is exact in float32 and never 0 or 1."""
    u = _drawn(plan, dtype).mul_(2.0**-23).add_(0.5 + 2.0**-24)
    return u.log_().neg_().log_().neg_()


def normal(plan: Plan, dtype: torch.dtype) -> Tensor:
    """Standard normal noise, ``√2 · erf⁻¹(2u − 1)``, of the same u."""
    return _drawn(plan, dtype).mul_(2.0**-22).add_(2.0**-23).erfinv_().mul_(math.sqrt(2))


def _drawn(plan: Plan, dtype: torch.dtype) -> Tensor:
    """Integers from −2²² to 2²² − 1."""
    assert plan.seed is not None
    return (bits(plan, plan.seed, NORMALIZER) >> 9).to(dtype)


def _mix(x: Tensor) -> Tensor:
    """The same bijection for int64 with 32 unsigned bits."""
    for shift, factor in _ROUNDS:
        x = (x ^ (x >> shift)) * factor & _LOW
    return x ^ (x >> 16)


def _signed(x: Tensor) -> Tensor:
    """32 bits in int64 as int32 with the same bits."""
    return ((x ^ 0x80000000) - 0x80000000).to(torch.int32)
