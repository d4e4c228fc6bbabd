"""Calls of `regard.attention` from layers: a view only if requested, single heads without their dimension."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from regard.attend import Look, Mask, Score, View, attention


def attend_heads(
    query: Tensor, key: Tensor, value: Tensor, look: Look | None, **options: Any
) -> tuple[Tensor, View | None]:
    """`regard.attention` over ``(B, H, L, width)`` or ``(H, L, width)``: output and view, None without ``look``."""
    if look is None:
        return attention(query, key, value, **options), None
    return attention(query, key, value, look=look, **options)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score: Score,
    mask: Mask | Tensor | None,
    look: Look | None,
    **options: Any,
) -> tuple[Tensor, View | None]:
    """`regard.attention` over ``(B, L, width)`` or ``(L, width)``: the context, and the view, None without ``look``."""
    heads = query.unsqueeze(-3), key.unsqueeze(-3), value.unsqueeze(-3)
    output, view = attend_heads(*heads, look, score=score, mask=mask, **options)
    return output.squeeze(-3), view
