"""Normalization of features by their root mean square, in one operation on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.kernels.cpu import rows
from regard.nn.layer import check_kind


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` (Zhang and Sennrich 2019, arXiv:1910.07467), which on a CPU is eight operations.

    Args and errors as of `torch.nn.RMSNorm`. With several normalized dimensions, without weights, and for other dtypes
    than float32, it is PyTorch's.

    Example:
        >>> RMSNorm(4)(torch.tensor([1.0, 1.0, 5.0, 3.0])).detach()
        tensor([0.3333, 0.3333, 1.6667, 1.0000])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(…, width)`` to the same shape. Raises TypeError: ``x`` is a nested tensor or a DTensor."""
        check_kind("x", x)
        if self.weight is None or len(self.normalized_shape) > 1 or x.dtype is not torch.float32:
            return super().forward(x)
        return rows.rms_norm(x, self.weight, torch.finfo(x.dtype).eps if self.eps is None else self.eps)
