"""Sends the calls of PyTorch's attention to `regard.attention`, so that a watcher sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.attend import Causal, Dot, Dropout, Look, Softmax, attention
from regard.attend.watching import Watching

_FUSED, _MULTI_HEAD = F.scaled_dot_product_attention, F.multi_head_attention_forward


@contextmanager
def redirected() -> Iterator[None]:
    """In this block, `F.scaled_dot_product_attention` and ``MultiheadAttention`` compute with `regard.attention`.

    The functions are replaced in ``torch.nn.functional``, not by a mode of torch: a mode is off while it handles a
    function, so for all that a backward pass calls, such as a forward pass that is repeated. A name that a module
    imported from there stays the original.
    """
    before = F.scaled_dot_product_attention, F.multi_head_attention_forward
    fast = torch.backends.mha.get_fastpath_enabled()
    F.scaled_dot_product_attention, F.multi_head_attention_forward = _attend, _multi_head
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        F.scaled_dot_product_attention, F.multi_head_attention_forward = before
        torch.backends.mha.set_fastpath_enabled(fast)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`F.scaled_dot_product_attention`; calls by regard itself and of more than four dimensions stay as they are."""
    alike = query.dim() <= 4 and query.shape[:-3] == key.shape[:-3] and key.shape[:-1] == value.shape[:-1]
    if Watching.current is None or not alike:
        return _FUSED(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    boolean = attn_mask is not None and attn_mask.dtype is torch.bool
    options: dict[str, Any] = {
        "score": Dot(scale),
        "mask": attn_mask if boolean else Causal(0) if is_causal else None,
        "bias": None if boolean else attn_mask,
        "normalizer": Dropout(Softmax(), dropout_p) if dropout_p else Softmax(),
    }
    output: Tensor
    if _Wanted.rows is None:
        output = attention(query, key, value, **options)
    else:
        output, view = attention(query, key, value, look=Look(rows=slice(None)), **options)
        _Wanted.rows.append(view.rows)
    return output


class _Wanted:
    """Where `_attend` puts the weights; None: they are not wanted."""

    rows: list[Tensor] | None = None


def _multi_head(query: Tensor, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
    """`F.multi_head_attention_forward`, which without weights calls `F.scaled_dot_product_attention`."""
    average = options.pop("average_attn_weights", True)
    rows: list[Tensor] = []
    _Wanted.rows = rows if options.get("need_weights", True) else None
    options["need_weights"] = False
    try:
        output: Tensor = _MULTI_HEAD(query, *arguments, **options)[0]
    finally:
        _Wanted.rows = None
    if not rows:
        return output, None
    weights = rows[0] if query.dim() == 3 else rows[0][0]
    return output, weights.mean(-3) if average else weights
