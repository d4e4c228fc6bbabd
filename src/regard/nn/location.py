"""Attention that uses the weights of the previous step: Chorowski et al. 2015."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.attend import Additive, Look, Mask, Normalizer, View
from regard.nn.layer import Device, Layer, check_shape
from regard.nn.learned import SOFTMAX, Learned, row_of
from regard.nn.optional_look import attend


class LocationAwareAttention(Layer):
    """``s_ij = v · tanh(W q_i + U h_j + V f_ij + b)``, ``f_i = F ∗ w_{i−1}``: one step of a decoder.

    Chorowski et al. 2015 (arXiv:1506.07503), equations 8 and 9: the weights of the previous step are convolved and
    added to the hidden layer, so that a score can depend on the distance from the position attended to before.

    Args:
        query_width: of the queries.
        memory_width: of the memory.
        width: of the hidden layer.
        filters: k, the number of filters F.
        kernel: r, their width in positions; odd.
        normalizer: any normalizer, or a `Learned` one; `Sigmoid` gives the smoothing of the paper without its division
            by the sum.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size is not positive, or ``kernel`` is even.

    Example:
        >>> layer = LocationAwareAttention(query_width=8, memory_width=6, width=4, kernel=3)
        >>> memory, weights = torch.randn(2, 7, 6), torch.full((2, 7), 1 / 7)
        >>> context, weights, _ = layer(torch.randn(2, 8), memory, weights)
        >>> context.shape, weights.shape
        (torch.Size([2, 6]), torch.Size([2, 7]))
    """

    def __init__(
        self,
        query_width: int,
        memory_width: int,
        width: int,
        *,
        filters: int = 10,
        kernel: int = 31,
        normalizer: Normalizer | Learned[Normalizer] = SOFTMAX,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if min(query_width, memory_width, width, filters, kernel) < 1:
            sizes = f"{query_width}, {memory_width}, {width}, {filters}, {kernel}"
            raise ValueError(f"widths, filters and kernel must be positive, got {sizes}")
        if kernel % 2 == 0:
            raise ValueError(f"kernel: must be odd, so that it has a middle, got {kernel}")
        self.query = nn.Linear(query_width, width, device=device, dtype=dtype)
        self.key = nn.Linear(memory_width, width, bias=False, device=device, dtype=dtype)
        padding = kernel // 2
        self.filters = nn.Conv1d(1, filters, kernel, padding=padding, bias=False, device=device, dtype=dtype)
        self.location = nn.Linear(filters, width, bias=False, device=device, dtype=dtype)
        self.v = nn.Parameter(torch.empty(width, device=device, dtype=dtype))
        self.normalizer = normalizer
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
        previous: Tensor | None = None,
        *,
        keys: Tensor | None = None,
        mask: Mask | Tensor | None = None,
        look: Look | None = None,
    ) -> tuple[Tensor, Tensor, View | None]:
        """Attend for one step.

        Args:
            query: ``(B, query_width)``, or ``(query_width,)`` of a single sequence; the other inputs then have no B.
            memory: ``(B, Lk, memory_width)``.
            previous: ``(B, Lk)``, the weights of the previous step; None: zeros, for the first step.
            keys: the result of `keys` for this memory; None: computed here.
            mask: as in `regard.attention`, with one head and one query.
            look: what to report about the weights.

        Returns:
            The context ``(B, memory_width)``, the weights ``(B, Lk)``, with their gradient, for the next step, and the
            view, None without ``look``.

        Raises:
            ValueError: ``query`` has neither 1 nor 2 dimensions, or another input does not fit.
        """
        check_shape("query", query, "B query_width", "query_width")
        batch = "" if query.dim() == 1 else "B "
        check_shape("memory", memory, f"{batch}Lk memory_width")
        if previous is not None:
            check_shape("previous", previous, f"{batch}Lk")
        if keys is not None:
            check_shape("keys", keys, f"{batch}Lk width")
        keys = self.keys(memory) if keys is None else keys
        if previous is not None:
            keys = keys + self.location(self.filters(previous.unsqueeze(-2)).mT)
        # The values are the memory and one-hot columns, whose outputs are the weights themselves.
        one_hot = torch.eye(memory.shape[-2], dtype=memory.dtype, device=memory.device)
        one_hot = one_hot.expand(*memory.shape[:-2], -1, -1)
        output, view = attend(
            self.query(query).unsqueeze(-2), keys, torch.cat([memory, one_hot], -1), Additive(self.v), mask, look,
            normalizer=row_of(self.normalizer, 0.0, self.training),
        )  # fmt: skip
        context, weights = output.squeeze(-2).split([memory.shape[-1], memory.shape[-2]], -1)
        return context, weights, view
