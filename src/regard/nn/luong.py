"""The three scores of Luong, Pham and Manning 2015, as layers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from regard.attend import Additive, Bilinear, Dot, Look, Mask, Score, View
from regard.nn.layer import Device, Layer, check_sequences
from regard.nn.optional_look import attend


class LuongAttention(Layer):
    """Global attention of Luong et al. 2015 (arXiv:1508.04025), equation 8; the memory is key and value.

    ``dot``: ``s = q·h``; ``general``: ``s = q W h``; ``concat``: ``s = v · tanh(W [q; h])``, computed as
    ``v · tanh(W_q q + W_h h)``, which is the same.

    Args:
        query_width: width of the queries.
        memory_width: width of the memory; for ``dot`` it must be ``query_width``.
        score: one of the three.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: an unknown score, or ``dot`` with different widths.

    Example:
        >>> layer = LuongAttention(8, 6, "general")
        >>> context, _ = layer(torch.randn(2, 5, 8), torch.randn(2, 7, 6))
        >>> context.shape
        torch.Size([2, 5, 6])
    """

    def __init__(
        self,
        query_width: int,
        memory_width: int,
        score: Literal["dot", "general", "concat"] = "general",
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if score not in ("dot", "general", "concat"):
            raise ValueError(f"score: expected dot, general or concat, got {score!r}")
        if score == "dot" and query_width != memory_width:
            raise ValueError(f"memory_width: dot needs query_width, {query_width}, got {memory_width}; try general")
        self.score = score
        if score == "general":
            self.weight = nn.Parameter(torch.empty(query_width, memory_width, device=device, dtype=dtype))
        if score == "concat":
            self.query = nn.Linear(query_width, query_width, bias=False, device=device, dtype=dtype)
            self.key = nn.Linear(memory_width, query_width, bias=False, device=device, dtype=dtype)
            self.v = nn.Parameter(torch.empty(query_width, device=device, dtype=dtype))
        self._reset_own()

    def _reset_own(self) -> None:
        if self.score == "general":
            nn.init.xavier_uniform_(self.weight)
        if self.score == "concat":
            nn.init.normal_(self.v, std=len(self.v) ** -0.5)

    def keys(self, memory: Tensor) -> Tensor:
        """The keys of ``memory``, ``(B, Lk, …)``: compute them once if one memory is attended to many times."""
        return self.key(memory) if self.score == "concat" else memory

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        *,
        keys: Tensor | None = None,
        mask: Mask | Tensor | None = None,
        look: Look | None = None,
    ) -> tuple[Tensor, View | None]:
        """Attend: arguments and result as in `regard.nn.AdditiveAttention.forward`."""
        check_sequences(query, memory=memory, keys=keys)
        keys = self.keys(memory) if keys is None else keys
        score: Score
        if self.score == "concat":
            query, score = self.query(query), Additive(self.v)
        else:
            score = Bilinear(self.weight) if self.score == "general" else Dot(scale=1.0)
        return attend(query, keys, memory, score, mask, look)
