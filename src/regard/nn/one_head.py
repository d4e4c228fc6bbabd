"""What the layers with a single head share: three-dimensional inputs, and a view only where one is asked for."""

from __future__ import annotations

from torch import Tensor

from regard.attend import Look, Mask, Score, View, attention


def attend(
    query: Tensor, key: Tensor, value: Tensor, score: Score, mask: Mask | Tensor | None, look: Look | None
) -> tuple[Tensor, View | None]:
    """`regard.attention` over ``(B, L, width)``: the context ``(B, Lq, Ev)`` and the view, None without ``look``."""
    heads = query[:, None], key[:, None], value[:, None]
    if look is None:
        return attention(*heads, score=score, mask=mask)[:, 0], None
    output, view = attention(*heads, score=score, mask=mask, look=look)
    return output[:, 0], view
