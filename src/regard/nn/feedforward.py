"""The feed-forward layer of a Transformer: two or three matrices that are applied to each position."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.kernels.cpu import rows
from regard.nn.dropout import Dropout
from regard.nn.layer import Device, Layer, check_kind


class FeedForward(Layer):
    """``W₂ relu(W₁ x)`` (Vaswani et al. 2017, arXiv:1706.03762), or gated, ``W₂ (silu(W₁ x) ⊙ W₃ x)``.

    The gated form is SwiGLU (Shazeer 2020, arXiv:2002.05202).

    Args:
        width: of input and output.
        hidden: width of the hidden features; with ``gated``, the same width costs 1.5 times as much.
        gated: whether a third matrix gates the hidden features.
        bias: whether the matrices have a bias.
        dropout: the probability that a hidden feature is dropped in training.
        activation: of the form without a gate: ``"relu"`` or ``"gelu"``.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size is not positive, or ``activation`` is neither.

    Example:
        >>> FeedForward(8, 32, gated=True)(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        gated: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        activation: str = "relu",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if min(width, hidden) < 1:
            raise ValueError(f"width and hidden must be positive, got {width}, {hidden}")
        if activation not in ("relu", "gelu"):
            raise ValueError(f"activation: expected relu or gelu, got {activation!r}")
        self.inner = nn.Linear(width, hidden, bias=bias, device=device, dtype=dtype)
        self.gate = nn.Linear(width, hidden, bias=bias, device=device, dtype=dtype) if gated else None
        self.outer = nn.Linear(hidden, width, bias=bias, device=device, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.activation = F.relu if activation == "relu" else rows.gelu

    def forward(self, x: Tensor) -> Tensor:
        """``(…, width)`` to the same shape. Raises TypeError: ``x`` is a nested tensor or a DTensor."""
        check_kind("x", x)
        hidden = self.inner(x)
        if self.gate is not None:
            dropped = self.dropout(F.silu(hidden) * self.gate(x))
        elif self.activation is F.relu and torch.compiler.is_compiling():
            dropped = _relu_dropped(hidden, self.dropout.mask(hidden))
        else:
            dropped = self.dropout(self.activation(hidden))
        output: Tensor = self.outer(dropped)
        return output


def _relu_dropped(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """``relu(hidden) ⊙ mask``, in graphs with one factor for both.

    Otherwise, a graph stores as booleans which features are positive. The code that torch.compile generates for a CPU
    takes more than ten times as long for them as for numbers.
    """
    positive = hidden.detach().sign().clamp(min=0)
    return hidden * (positive if mask is None else mask * positive)
