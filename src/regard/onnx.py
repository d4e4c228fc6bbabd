"""The ONNX operator ``Attention``, opsets 23 to 25, by `regard.attention`: its own names, its own meaning.

https://onnx.ai/onnx/operators/onnx__Attention.html. Opset 24 added ``nonpad_kv_seqlen``, opset 25 the windows; the
meaning of what was there before is that of opset 25's text, which settled the order (softcap, bias, softmax) and the
alignment of ``is_causal`` for all of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from regard.attend import Boolean, Causal, Dot, Lengths, Look, Mask, Score, Softcap, Window
from regard.attend import attention as attend

_PRECISIONS = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}
"""ONNX's numbers of the types that ``softmax_precision`` may name."""

_RAW, _CAPPED, _BIASED, _WEIGHTS = range(4)
"""The modes of ``qk_matmul_output``."""


class Outputs(NamedTuple):
    """What the operator gives.

    Attributes:
        Y: as ``Q``, ``(B, H, Lq, Ev)`` or ``(B, Lq, H · Ev)``.
        present_key: ``(B, Hk, Lk, E)``: past and new keys.
        present_value: ``(B, Hk, Lk, Ev)``.
        qk_matmul_output: ``(B, H, Lq, Lk)``; None unless it was asked for.

    Example:
        >>> outputs = attention(*(torch.randn(2, 3, 5, 8) for _ in range(3)), qk_matmul_output_mode=3)
        >>> outputs.qk_matmul_output.shape
        torch.Size([2, 3, 5, 5])
    """

    Y: Tensor
    present_key: Tensor
    present_value: Tensor
    qk_matmul_output: Tensor | None


def attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int | None = None,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Outputs:
    """The operator ``Attention``; arguments have its names, and are what its text says.

    Args:
        Q: ``(B, H, Lq, E)`` or ``(B, Lq, H · E)``.
        K: ``(B, Hk, L, E)`` or ``(B, L, Hk · E)``.
        V: ``(B, Hk, L, Ev)`` or ``(B, L, Hk · Ev)``.
        attn_mask: boolean (True: takes part) or added to the scores; broadcastable to ``(B, H, Lq, Lk)``, or with a
            shorter last dimension: keys beyond it take no part.
        past_key: ``(B, Hk, Lp, E)``: keys that come before ``K``, Lk = Lp + L.
        past_value: ``(B, Hk, Lp, Ev)``.
        nonpad_kv_seqlen: ``(B,)``: how many keys of each sequence are real.
        is_causal: 1: key j takes part for query i when ``j <= i + offset``, offset the number of real keys before the
            queries: Lp, ``nonpad_kv_seqlen − Lq``, or 0.
        kv_num_heads: Hk, for inputs of three dimensions.
        left_window_size: how many keys before its own a query sees; −1: all.
        q_num_heads: H, for inputs of three dimensions.
        qk_matmul_output_mode: what ``qk_matmul_output`` is: 0 the products, 1 after softcap, 2 with bias and masks, 3
            the weights; None: it is not asked for. It holds Lq × Lk numbers.
        right_window_size: how many keys after its own a query sees; −1: all.
        scale: factor on the products; 1/√E unless given.
        softcap: c of ``c · tanh(s / c)``; 0: none.
        softmax_precision: ONNX's number of the type that the softmax is computed in: 1, 10, 11 or 16. It is computed in
            at least float32 here, which rounds less.

    Raises:
        ValueError: arguments that the operator does not allow, or not together.
        TypeError: see `regard.attention`.

    Example:
        >>> Q, K, V = (torch.randn(2, 5, 24) for _ in range(3))
        >>> attention(Q, K, V, q_num_heads=3, kv_num_heads=3, is_causal=1).Y.shape
        torch.Size([2, 5, 24])
    """
    _check(Q, K, V, past_key, past_value, nonpad_kv_seqlen, q_num_heads, kv_num_heads)
    _check_attributes(left_window_size, right_window_size, softcap, softmax_precision, qk_matmul_output_mode)
    flat = Q.dim() == 3
    if flat:
        assert q_num_heads is not None
        assert kv_num_heads is not None
        Q, K, V = (_heads(t, n) for t, n in ((Q, q_num_heads), (K, kv_num_heads), (V, kv_num_heads)))
    if past_key is not None and past_value is not None:
        K, V = torch.cat([past_key, K], 2), torch.cat([past_value, V], 2)
    bias, mask = _split(attn_mask, K.shape[2])
    offset = _offset(Q, past_key, nonpad_kv_seqlen)
    if nonpad_kv_seqlen is not None:
        mask = _both(mask, Lengths(nonpad_kv_seqlen))
    if is_causal:
        mask = _both(mask, Causal(offset))
    if left_window_size >= 0 or right_window_size >= 0:
        left, right = (None if size < 0 else size for size in (left_window_size, right_window_size))
        mask = _both(mask, Window(left, right, offset))
    score: Score = Softcap(Dot(scale), softcap) if softcap else Dot(scale)
    precise = _PRECISIONS[softmax_precision] if softmax_precision is not None else Q.dtype
    wide = torch.promote_types(Q.dtype, precise)
    inputs = [t.to(wide) for t in (Q, K, V)]
    options: dict[str, Any] = {"score": score, "bias": None if bias is None else bias.to(wide), "mask": mask}
    output = attend(*inputs, **options).to(Q.dtype)
    asked = None
    if qk_matmul_output_mode is not None:
        asked = _products(qk_matmul_output_mode, inputs, options, scale).to(Q.dtype)
    return Outputs(output.transpose(1, 2).flatten(2) if flat else output, K, V, asked)


def _check(
    Q: Tensor, K: Tensor, V: Tensor, past_key: Tensor | None, past_value: Tensor | None, nonpad: Tensor | None,
    q_num_heads: int | None, kv_num_heads: int | None,
) -> None:  # fmt: skip
    if Q.dim() not in (3, 4) or K.dim() != Q.dim() or V.dim() != Q.dim():
        dims = f"{Q.dim()}, {K.dim()} and {V.dim()}"
        raise ValueError(f"Q, K, V: expected all three with 3 dimensions, or all with 4, got {dims}")
    for name, heads, widths in (
        ("q_num_heads", q_num_heads, (Q.shape[-1],)),
        ("kv_num_heads", kv_num_heads, (K.shape[-1], V.shape[-1])),
    ):
        if Q.dim() == 4 and heads is not None:
            raise ValueError(f"{name}: is for inputs of 3 dimensions; those of 4 tell it themselves")
        if Q.dim() == 3 and (heads is None or heads < 1):
            raise ValueError(f"{name}: inputs of 3 dimensions need it, a positive number, got {heads}")
        if Q.dim() == 3 and heads is not None and any(width % heads for width in widths):
            raise ValueError(f"{name}: must divide the last dimension, {' and '.join(map(str, widths))}, got {heads}")
    if (past_key is None) != (past_value is None):
        raise ValueError("past_key: past_key and past_value are given together, or neither is")
    if past_key is not None and nonpad is not None:
        raise ValueError(
            "nonpad_kv_seqlen: is for a cache outside the operator; past_key is one inside it; give one of them"
        )


def _check_attributes(
    left_window_size: int, right_window_size: int, softcap: float, softmax_precision: int | None, mode: int | None
) -> None:
    for name, size in (("left_window_size", left_window_size), ("right_window_size", right_window_size)):
        if size < -1:
            raise ValueError(f"{name}: must be −1 or at least 0, got {size}")
    if softcap < 0:
        raise ValueError(f"softcap: must be 0 (none) or positive, got {softcap}")
    if softmax_precision is not None and softmax_precision not in _PRECISIONS:
        raise ValueError(
            f"softmax_precision: expected one of {', '.join(map(str, _PRECISIONS))}, got {softmax_precision}"
        )
    if mode not in (None, _RAW, _CAPPED, _BIASED, _WEIGHTS):
        raise ValueError(f"qk_matmul_output_mode: expected 0 to 3 or None, got {mode}")


def _heads(tensor: Tensor, heads: int) -> Tensor:
    split: Tensor = tensor.unflatten(-1, (heads, -1))
    return split.transpose(1, 2)


def _split(attn_mask: Tensor | None, keys: int) -> tuple[Tensor | None, Mask | None]:
    """The bias and the mask that ``attn_mask`` is. A bias of −∞ is a mask: a query with no other gets 0, not NaN."""
    if attn_mask is None:
        return None, None
    missing = keys - attn_mask.shape[-1]
    if missing > 0:
        fill = False if attn_mask.dtype is torch.bool else -torch.inf
        attn_mask = torch.nn.functional.pad(attn_mask, (0, missing), value=fill)
    if attn_mask.dtype is torch.bool:
        return None, Boolean(attn_mask)
    hidden = attn_mask.isneginf()
    return attn_mask.masked_fill(hidden, 0.0), Boolean(~hidden)


def _offset(Q: Tensor, past_key: Tensor | None, nonpad: Tensor | None) -> int | Tensor:
    if past_key is not None:
        return past_key.shape[2]
    return 0 if nonpad is None else nonpad - Q.shape[2]


def _both(mask: Mask | None, other: Mask) -> Mask:
    return other if mask is None else mask & other


def _products(mode: int, inputs: list[Tensor], options: dict[str, Any], scale: float | None) -> Tensor:
    """``qk_matmul_output``: of its nature a whole Lq × Lk tensor."""
    query, key, _ = inputs
    if mode == _WEIGHTS:
        _, view = attend(*inputs, look=Look(rows=slice(None)), **options)
        return view.rows
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * factor) @ key.repeat_interleave(query.shape[1] // key.shape[1], 1).mT
    score, bias, mask = options["score"], options["bias"], options["mask"]
    if mode != _RAW and isinstance(score, Softcap):
        scores = torch.tanh(scores / score.cap) * score.cap
    if mode == _BIASED and bias is not None:
        scores = scores + bias
    if mode == _BIASED and mask is not None:
        shape = (scores.shape[0], scores.shape[1], scores.shape[2], scores.shape[3])
        scores = scores.masked_fill(~mask.lower(shape, scores.device).whole(shape, scores.device), -torch.inf)
    return scores
