"""Additive attention with its projections: Bahdanau, Cho and Bengio 2015."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.attend import Additive, Look, Mask, View
from regard.nn.layer import Device, Layer, check_sequences
from regard.nn.optional_look import attend


class AdditiveAttention(Layer):
    """``s_ij = v · tanh(W q_i + U h_j + b)``, ``c_i = Σ_j softmax(s_i)_j h_j``.

    Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473), appendix A.1.2: their s is the query here, h the memory, W_a, U_a
    and v_a the weights of ``query``, ``key`` and ``v``. The memory itself is the value.

    Args:
        query_width: width of the queries.
        memory_width: width of the memory.
        width: width of the hidden layer, the paper's n'.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a width is not positive.

    Example:
        >>> layer = AdditiveAttention(query_width=8, memory_width=6, width=4)
        >>> context, view = layer(torch.randn(2, 5, 8), torch.randn(2, 7, 6), look=Look(rows=[0]))
        >>> context.shape, view.rows.shape
        (torch.Size([2, 5, 6]), torch.Size([2, 1, 1, 7]))
    """

    def __init__(
        self,
        query_width: int,
        memory_width: int,
        width: int,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if min(query_width, memory_width, width) < 1:
            raise ValueError(f"widths must be positive, got {query_width}, {memory_width}, {width}")
        self.query = nn.Linear(query_width, width, device=device, dtype=dtype)
        self.key = nn.Linear(memory_width, width, bias=False, device=device, dtype=dtype)
        self.v = nn.Parameter(torch.empty(width, device=device, dtype=dtype))
        self._reset_own()

    def _reset_own(self) -> None:
        nn.init.normal_(self.v, std=len(self.v) ** -0.5)

    def keys(self, memory: Tensor) -> Tensor:
        """``U h``, ``(B, Lk, width)``: compute it once if one memory is attended to many times."""
        keys: Tensor = self.key(memory)
        return keys

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        *,
        keys: Tensor | None = None,
        mask: Mask | Tensor | None = None,
        look: Look | None = None,
    ) -> tuple[Tensor, View | None]:
        """Attend.

        Args:
            query: ``(B, Lq, query_width)``, or ``(Lq, query_width)`` of a single sequence.
            memory: ``(B, Lk, memory_width)``, or ``(Lk, memory_width)``.
            keys: the result of `keys` for this memory; None: computed here.
            mask: as in `regard.attention`, with one head.
            look: what to report about the weights.

        Returns:
            The context ``(B, Lq, memory_width)``, of query's rank, and the view, None without ``look``.

        Raises:
            ValueError: ``query`` has neither 2 nor 3 dimensions, or the others have another number.
        """
        check_sequences(query, memory=memory, keys=keys)
        projected = self.keys(memory) if keys is None else keys
        return attend(self.query(query), projected, memory, Additive(self.v), mask, look)
