"""Cross-entropy of a linear layer's outputs, without storing all logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ROWS = 256
"""The number of rows in a chunk of logits. The last chunk is padded to it, so that all products have one shape."""


def linear_cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float = 0.0
) -> Tensor:
    """The summed cross-entropy of ``softmax(features Wᵀ + b)`` with smoothed targets, as PyTorch's ``cross_entropy``.

    With ``smoothing`` ε the target's probability is 1 − ε + ε/V, every other token's ε/V (Szegedy et al. 2016,
    arXiv:1512.00567). Rows are processed in chunks that fit the cache, and the gradients are computed in the forward
    pass, from the same logits (as in Wijmans et al. 2024, arXiv:2411.09009): ``(N, V)`` is never stored or read again.

    Args:
        features: ``(N, E)``; in half precision, the products are too, and everything else is float32.
        weight: ``(V, E)``.
        bias: ``(V,)``.
        target: int64 ``(N,)``.
        smoothing: ε, from 0 to below 1.

    Example:
        >>> features, weight, bias = torch.randn(5, 8), torch.randn(100, 8), torch.randn(100)
        >>> target = torch.randint(100, (5,))
        >>> loss = linear_cross_entropy(features, weight, bias, target)
        >>> torch.allclose(loss, F.cross_entropy(features @ weight.T + bias, target, reduction="sum"))
        True
    """
    with torch.autocast(features.device.type, enabled=False):
        loss: Tensor = _LinearCrossEntropy.apply(features, weight, bias, target, smoothing)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float) -> Tensor:
        precise, size = torch.promote_types(features.dtype, torch.float32), weight.shape[0]
        matrix, count = weight.to(features.dtype), features.shape[0]
        total = features.new_zeros((), dtype=precise)
        to_features = torch.empty_like(features)
        to_weight, to_bias = (torch.zeros_like(t, dtype=precise) for t in (weight, bias))
        for start in range(0, count, _ROWS):
            part, short = slice(start, min(count, start + _ROWS)), max(0, start + _ROWS - count)
            chunk = F.pad(features[part], (0, 0, 0, short))
            labels = F.pad(target[part], (0, short))[:, None]
            logits = F.linear(chunk, matrix).to(precise).add_(bias)
            lse = logits.logsumexp(-1, keepdim=True)
            losses = lse - (1 - smoothing) * logits.gather(1, labels) - smoothing * logits.mean(-1, keepdim=True)
            total += losses[: _ROWS - short].sum()
            if not any(ctx.needs_input_grad):
                continue
            gradient = logits.sub_(lse).exp_().sub_(smoothing / size)
            gradient.scatter_add_(1, labels, torch.full_like(labels, smoothing - 1, dtype=precise))
            gradient[_ROWS - short :] = 0
            to_bias += gradient.sum(0)
            gradient = gradient.to(features.dtype)
            to_features[part] = (gradient @ matrix)[: _ROWS - short]
            to_weight += gradient.T @ chunk
        ctx.save_for_backward(to_features, to_weight, to_bias)
        ctx.dtypes = weight.dtype, bias.dtype
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        to_features, to_weight, to_bias = (saved * gradient for saved in ctx.saved_tensors)
        weight, bias = ctx.dtypes
        return to_features.to(ctx.saved_tensors[0].dtype), to_weight.to(weight), to_bias.to(bias), None, None
