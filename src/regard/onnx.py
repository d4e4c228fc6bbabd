"""The ONNX operator ``Attention``, opsets 23 to 25, computed by `regard.attention`, with ONNX's argument names.

https://onnx.ai/onnx/operators/onnx__Attention.html. Opset 24 added ``nonpad_kv_seqlen``, opset 25 the windows. The text
of opset 25 also fixes the order (softcap, bias, softmax) and the alignment of ``is_causal``; both are used for all
opsets.
"""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regard.attend import Boolean, Causal, Dot, Lengths, Look, Mask, Score, Softcap, Window
from regard.attend import attention as attend

_PRECISIONS = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}
"""ONNX's numbers of the dtypes that ``softmax_precision`` may be."""

_RAW, _CAPPED, _BIASED, _WEIGHTS = range(4)
"""The modes of ``qk_matmul_output``."""


class Outputs(NamedTuple):
    """The outputs of the operator.

    Attributes:
        Y: as ``Q``, ``(B, H, Lq, Ev)`` or ``(B, Lq, H · Ev)``.
        present_key: ``(B, Hk, Lk, E)``: past and new keys.
        present_value: ``(B, Hk, Lk, Ev)``.
        qk_matmul_output: ``(B, H, Lq, Lk)``; None unless requested.

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
    """The operator ``Attention``; the arguments have its names and meaning.

    Args:
        Q: ``(B, H, Lq, E)`` or ``(B, Lq, H · E)``.
        K: ``(B, Hk, L, E)`` or ``(B, L, Hk · E)``.
        V: ``(B, Hk, L, Ev)`` or ``(B, L, Hk · Ev)``.
        attn_mask: boolean (True: takes part) or added to the scores; broadcastable to ``(B, H, Lq, Lk)``, or with a
            shorter last dimension: keys beyond it are hidden.
        past_key: ``(B, Hk, Lp, E)``: keys before ``K``, Lk = Lp + L.
        past_value: ``(B, Hk, Lp, Ev)``.
        nonpad_kv_seqlen: ``(B,)``: the number of keys of each sequence that are not padding.
        is_causal: 1: query i sees key j if ``j <= i + offset``, where offset is the number of real keys before the
            queries: Lp, ``nonpad_kv_seqlen − Lq``, or 0.
        kv_num_heads: Hk, for inputs of three dimensions.
        left_window_size: the number of keys that a query sees before its own position; −1: all.
        q_num_heads: H, for inputs of three dimensions.
        qk_matmul_output_mode: the content of ``qk_matmul_output``: 0 the products, 1 after softcap, 2 with bias and
            masks, 3 the weights; None: no such output. It has Lq × Lk numbers.
        right_window_size: the number of keys that a query sees after its own position; −1: all.
        scale: factor on the products; default 1/√E.
        softcap: c in ``c · tanh(s / c)``; 0: none.
        softmax_precision: ONNX's number of the dtype in which the softmax is computed: 1, 10, 11 or 16. Here it is
            computed in float32 at least.

    Raises:
        ValueError: an argument or a combination of arguments that the operator does not allow.
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
    bias, given = _split(attn_mask, K.shape[2])
    offset = _offset(Q, past_key, nonpad_kv_seqlen)
    mask = _mask(given, nonpad_kv_seqlen, offset, bool(is_causal), left_window_size, right_window_size)
    score: Score = Softcap(Dot(scale), softcap) if softcap else Dot(scale)
    precise = _PRECISIONS[softmax_precision] if softmax_precision is not None else Q.dtype
    wide = torch.promote_types(Q.dtype, precise)
    inputs = [t.to(wide) for t in (Q, K, V)]
    options: dict[str, Any] = {"score": score, "bias": None if bias is None else bias.to(wide), "mask": mask}
    output = attend(*inputs, **options).to(Q.dtype)
    products = None
    if qk_matmul_output_mode is not None:
        products = _products(qk_matmul_output_mode, inputs, options, scale).to(Q.dtype)
    return Outputs(output.transpose(1, 2).flatten(2) if flat else output, K, V, products)


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
            raise ValueError(f"{name}: is for inputs of 3 dimensions; the shape of inputs of 4 dimensions has it")
        if Q.dim() == 3 and (heads is None or heads < 1):
            raise ValueError(f"{name}: inputs of 3 dimensions need it, a positive number, got {heads}")
        if Q.dim() == 3 and heads is not None and any(width % heads for width in widths):
            raise ValueError(f"{name}: must divide the last dimension, {' and '.join(map(str, widths))}, got {heads}")
    if (past_key is None) != (past_value is None):
        raise ValueError("past_key: past_key and past_value must be given together")
    if past_key is not None and nonpad is not None:
        raise ValueError(
            "nonpad_kv_seqlen: is for a cache outside of the operator, past_key for one inside; give only one of them"
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
    """The bias and the mask in ``attn_mask``. A bias of −∞ is a mask: a query that sees no key gets 0, not NaN."""
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


def _mask(
    given: Mask | None, nonpad: Tensor | None, offset: int | Tensor, causal: bool, left: int, right: int
) -> Mask | None:
    """The mask of all arguments that hide keys; window sizes of −1 are no limit."""
    masks: list[Mask] = [] if given is None else [given]
    if nonpad is not None:
        masks.append(Lengths(nonpad))
    if causal:
        masks.append(Causal(offset))
    if left >= 0 or right >= 0:
        masks.append(Window(None if left < 0 else left, None if right < 0 else right, offset))
    return functools.reduce(operator.and_, masks) if masks else None


def _products(mode: int, inputs: list[Tensor], options: dict[str, Any], scale: float | None) -> Tensor:
    """``qk_matmul_output``, which is an Lq × Lk tensor."""
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
